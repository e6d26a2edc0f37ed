#!/usr/bin/env python3
"""Side-by-side LLM gateway measurement. See README.md.
Everything runs inside the network namespace `bench` (loopback only)."""
import argparse, json, os, resource, signal, subprocess, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
TCK = os.sysconf("SC_CLK_TCK")
NS = ["ip", "netns", "exec", "bench"]
MOCK = os.path.join(HERE, "mock/target/release/mock")
SLOAD = os.path.join(HERE, "sload/target/release/sload")
OHA = os.path.join(HERE, "tools/bin/oha")
MSG = [{"role": "system", "content": "You are a helpful assistant."},
       {"role": "user", "content": "Explain in two short sentences what an API gateway does for calls to language models. " * 3}]

PRIO = 0
def prio(pid):
    """the scheduler groups tasks by session (autogroup): the group's weight is what counts between sessions"""
    if PRIO:
        try: open(f"/proc/{pid}/autogroup", "w").write(str(PRIO))
        except OSError as e: print("autogroup:", e)

def sh(*a, **k): return subprocess.run(list(a), capture_output=True, text=True, **k)

def start(cmd, core, log, env=None):
    e = dict(os.environ); e.update(env or {})
    f = open(os.path.join(HERE, "logs", log), "ab")
    p = subprocess.Popen(NS + ["taskset", "-c", core] + cmd, stdout=f, stderr=f, stdin=subprocess.DEVNULL,
                            env=e, start_new_session=True, cwd=os.path.join(HERE, "logs"))
    time.sleep(0.05); prio(p.pid)
    return p

def stop(p):
    if p is None: return
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try: os.killpg(p.pid, sig)
        except ProcessLookupError: break
        try:
            p.wait(8)
            time.sleep(0.3)
        except subprocess.TimeoutExpired: pass
    try: p.wait(2)
    except Exception: pass

def procs():
    out = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try: s = open(f"/proc/{d}/stat").read()
            except OSError: continue
            r = s.rindex(")"); f = s[r + 2:].split()
            out[int(d)] = (int(f[1]), (int(f[11]) + int(f[12]) + int(f[13]) + int(f[14])) / TCK, int(f[11]) + int(f[12]))
    return out

def tree(root, ps):
    got, todo = [], [root]
    while todo:
        x = todo.pop(); got.append(x)
        todo += [p for p, v in ps.items() if v[0] == x]
    return [g for g in got if g in ps]

def cpu(root):
    """CPU seconds of a process tree, dead children included"""
    if root is None: return 0.0
    ps = procs()
    return sum(ps[p][1] for p in tree(root, ps))

def mem(root):
    if root is None: return 0.0, 0.0
    rss = hwm = 0
    ps = procs()
    for p in tree(root, ps):
        try:
            for l in open(f"/proc/{p}/status"):
                if l.startswith("VmRSS"): rss += int(l.split()[1])
                elif l.startswith("VmHWM"): hwm += int(l.split()[1])
        except OSError: pass
    return round(rss / 1024, 1), round(hwm / 1024, 1)

def busy():
    f = open("/proc/stat").readline().split()[1:]
    v = [int(x) for x in f]
    return (v[0] + v[1] + v[2] + v[5] + v[6]) / TCK, v[7] / TCK

def foreign_now(sec=2.0):
    a = busy()[0]; m = sum(os.times()[:2]); time.sleep(sec)
    return (busy()[0] - a - (sum(os.times()[:2]) - m)) / sec

def wait_quiet(limit, thr):
    t0 = time.time()
    while True:
        f = foreign_now()
        if f < thr or time.time() - t0 > limit: return round(f, 3), round(time.time() - t0)
        time.sleep(3)

def curl(*a): return sh(*NS, "curl", "-s", "-m", "10", *a)
def control(**k): curl("http://127.0.0.1:9000/control?" + "&".join(f"{a}={b}" for a, b in k.items()))

def body(peer, stream):
    b = {"model": peer["model"], "messages": MSG, "temperature": 0.2, "max_tokens": 200, **peer.get("body", {})}
    if stream: b["stream"] = True; b["stream_options"] = {"include_usage": True}
    return json.dumps(b)

SC = {  # name: (stream, sload args, mock settings)
    "S1": (False, ["-c", "32", "-z", "15", "--warm", "2", "--expect", '"usage"'], dict(chunks=20, delay_ms=0)),
    "S2lo": (False, ["-c", "64", "-q", "50", "-z", "10", "--warm", "1", "--expect", '"usage"'], dict(chunks=20, delay_ms=0)),
    "S2": (False, ["-c", "64", "-q", "200", "-z", "15", "--warm", "2", "--expect", '"usage"'], dict(chunks=20, delay_ms=0)),
    "S2hi": (False, ["-c", "64", "-q", "1000", "-z", "10", "--warm", "1", "--expect", '"usage"'], dict(chunks=20, delay_ms=0)),
    "S2s": (True, ["-c", "64", "-q", "100", "-z", "15", "--warm", "2", "--stream", "--events", "20"], dict(chunks=20, delay_ms=0)),
    "S3": (True, ["-c", "16", "-z", "15", "--warm", "2", "--stream", "--events", "20"], dict(chunks=20, delay_ms=0)),
    "S4": (True, ["-c", "500", "-z", "15", "--warm", "3", "--ramp", "0.5", "--stream", "--events", "20", "--timeout", "25"], dict(chunks=20, delay_ms=20)),
    "S4b": (True, ["-c", "100", "-z", "12", "--warm", "3", "--ramp", "0.5", "--stream", "--events", "20", "--timeout", "25"], dict(chunks=20, delay_ms=20)),
    "S1oha": (False, None, dict(chunks=20, delay_ms=0)),
    "S2oha": (False, None, dict(chunks=20, delay_ms=0)),
}

def run_oha(name, peer):
    extra = ["-c", "32"] if name == "S1oha" else ["-c", "64", "-q", "200", "--latency-correction"]
    cmd = [OHA, "--no-tui", "--output-format", "json", "-z", "15s", "-w", "-m", "POST", "-T", "application/json", "-d", body(peer, False)] + extra
    for h in peer["headers"]: cmd += ["-H", h]
    r = sh(*NS, "taskset", "-c", "1", *cmd, peer["url"])
    try: j = json.loads(r.stdout)
    except Exception: return {"ok": 0, "errors": 1, "first_error": r.stderr[-300:]}
    p = j["latencyPercentiles"]; ms = lambda k: None if p.get(k) is None else round(p[k] * 1e3, 3)
    st = j["statusCodeDistribution"]; ok = st.get("200", 0)
    return {"ok": ok, "errors": sum(st.values()) - ok + sum(j["errorDistribution"].values()), "status": st, "error_kinds": j["errorDistribution"],
            "rps": round(ok / 15, 1), "latency_ms": {"p50": ms("p50"), "p90": ms("p90"), "p99": ms("p99"), "p99.9": ms("p99.9")}}

def run(name, peer, gw, mock):
    stream, args, setting = SC[name]
    control(flush=1, first_ms=0, **setting); curl("http://127.0.0.1:9000/stats?reset=1")
    m0 = mem(gw); c0 = cpu(gw); k0 = cpu(mock); b0 = busy(); u0 = resource.getrusage(resource.RUSAGE_CHILDREN); s0 = sum(os.times()[:2]); t0 = time.time()
    if args is None: res = run_oha(name, peer)
    else:
        cmd = [SLOAD] + args + ["-d", body(peer, stream)] + (["--no-done"] if peer.get("no_done") else [])
        for h in peer["headers"]: cmd += ["-H", h]
        r = sh(*NS, "taskset", "-c", "1", *cmd, peer["url"], timeout=90)
        try: res = json.loads(r.stdout)
        except Exception: res = {"ok": 0, "errors": 1, "first_error": r.stderr[-300:]}
    wall = time.time() - t0; c1 = cpu(gw); k1 = cpu(mock); b1 = busy(); u1 = resource.getrusage(resource.RUSAGE_CHILDREN); s1 = sum(os.times()[:2]); m1 = mem(gw)
    lg = u1.ru_utime + u1.ru_stime - u0.ru_utime - u0.ru_stime
    own = (c1 - c0) + (k1 - k0) + lg + (s1 - s0)
    res.update(scenario=name, wall=round(wall, 2), gw_cpu_s=round(c1 - c0, 2), mock_cpu_s=round(k1 - k0, 2), load_cpu_s=round(lg, 2),
               rss_before=m0[0], rss_after=m1[0], rss_peak=m1[1],
               foreign=round(max(0.0, b1[0] - b0[0] - own) / wall, 3), steal=round((b1[1] - b0[1]) / wall, 3),
               mock_stats=curl("http://127.0.0.1:9000/stats").stdout.strip())
    n = int(res["mock_stats"].split("chat: ")[1].split(",")[0]) if "chat: " in res["mock_stats"] else 0
    res["upstream_calls"] = n
    res["gw_us_per_req"] = round((c1 - c0) * 1e6 / n, 1) if n else None  # the warm-up's requests are in both
    return res

def on_term(*_): raise SystemExit(1)

def main():
    signal.signal(signal.SIGTERM, on_term); signal.signal(signal.SIGINT, on_term)
    global PRIO, MOCK, SLOAD
    ap = argparse.ArgumentParser()
    ap.add_argument("--peers", default="direct,nginx,ours")
    ap.add_argument("--scenarios", default="S1,S2lo,S2,S2hi,S3,S4")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--out", default=os.path.join(HERE, "results/run.jsonl"))
    ap.add_argument("--quiet-thr", type=float, default=0.15, help="cores used by others that still count as quiet")
    ap.add_argument("--quiet-wait", type=float, default=120, help="seconds to wait for quiet before each run")
    ap.add_argument("--retries", type=int, default=1, help="repeat a run that others disturbed")
    ap.add_argument("--nice", type=int, default=0)
    ap.add_argument("--soak", type=int, default=0, help="at the end of ours' last round, serve this many calls and report memory")
    ap.add_argument("--peers-file", default=os.path.join(HERE, "peers.json"))
    ap.add_argument("--mock", default=MOCK)
    ap.add_argument("--sload", default=SLOAD)
    a = ap.parse_args()
    PRIO, MOCK, SLOAD = a.nice, a.mock, a.sload
    try: os.setsid()
    except OSError: pass
    prio(os.getpid())
    sh("ip", "netns", "add", "bench"); sh(*NS, "ip", "link", "set", "lo", "up")
    os.makedirs(os.path.join(HERE, "logs"), exist_ok=True); os.makedirs(os.path.dirname(a.out), exist_ok=True)
    peers = json.loads(open(a.peers_file).read().replace("@HERE@", HERE))
    os.sched_setaffinity(0, {1})
    out = open(a.out, "a")
    for rnd in range(a.rounds):
        for name in a.peers.split(","):
            peer = peers[name]
            mock = start([MOCK, "--addr", "127.0.0.1:9000"], "1", "mock.log"); time.sleep(0.5)
            beside = [start(cmd, "1", "beside.log") for cmd in peer.get("beside", [])]
            gw = None; t0 = time.time()
            try:
                if peer["cmd"]:
                    gw = start(peer["cmd"], "0", name + ".log", peer.get("env"))
                    okk = False
                    while time.time() - t0 < peer.get("ready_timeout", 30):
                        if gw.poll() is not None: break
                        if "url_file" in peer:  # a gateway that picks its own port
                            try:
                                if os.stat(peer["url_file"]).st_mtime < t0: raise OSError
                                peer["url"] = open(peer["url_file"]).read().strip() + peer["url_suffix"]
                            except OSError: time.sleep(0.2); continue
                        c = curl("-o", "/dev/null", "-w", "%{http_code}", "-H", "content-type: application/json", *sum((["-H", h] for h in peer["headers"]), []), "-d", body(peer, False), peer["url"])
                        if c.stdout.strip() == "200": okk = True; break
                        time.sleep(0.2)
                    if not okk:
                        if "url_file" in peer and not peer["url"]: print(name, "no url", flush=True); continue
                        print(name, "did not become ready:", c.stdout, curl(*sum((["-H", h] for h in peer["headers"]), []), "-H", "content-type: application/json", "-d", body(peer, False), peer["url"]).stdout[:300], flush=True); continue
                ready = round(time.time() - t0, 2)
                idle = mem(gw.pid if gw else None)[0]
                # warm-up: both kinds of request, not counted
                for s in (False, True):
                    cmd = [SLOAD, "-c", "16", "-z", "3", "-d", body(peer, s)] + (["--stream"] if s else [])
                    for h in peer["headers"]: cmd += ["-H", h]
                    sh(*NS, "taskset", "-c", "1", *cmd, peer["url"])
                for sc in a.scenarios.split(","):
                    if sc in peer.get("skip", []): continue
                    for att in range(a.retries + 1):
                        q = wait_quiet(a.quiet_wait, a.quiet_thr)
                        r = run(sc, peer, gw.pid if gw else None, mock.pid)
                        r.update(peer=name, round=rnd, attempt=att, ready_s=ready, rss_idle=idle, quiet=q, at=time.strftime("%H:%M:%S"), nice=a.nice)
                        out.write(json.dumps(r) + "\n"); out.flush()
                        l = r.get("latency_ms") or {}
                        print(rnd, name, sc, "rps", r.get("rps"), "p50", l.get("p50"), "p99", l.get("p99"), "err", r.get("errors"), "cpu", r["gw_cpu_s"], "us/req", r["gw_us_per_req"], "rss", r["rss_after"], "foreign", r["foreign"], r.get("first_error") or "", flush=True)
                        if r["foreign"] <= a.quiet_thr * 1.7: break
                        time.sleep(1)
                    time.sleep(1)
                if a.soak and name == "ours" and rnd == a.rounds - 1: soak(peer, gw.pid, mock.pid, a.soak, out)
            finally:
                stop(gw); stop(mock)
                for p in beside: stop(p)

def soak(peer, gw, mock, calls, out):
    """serves at least `calls` more calls in rounds of 15 s; memory afterwards"""
    done = 0
    while done < calls:
        r = run("S1", peer, gw, mock); done += r["upstream_calls"]
        if not r["ok"]: break
    rss, peak = mem(gw)
    print(f"soak: {done} calls, RSS {rss} MiB, peak {peak} MiB", flush=True)
    r.update(scenario="soak", peer="ours", round=0, calls=done, rss_after=rss, rss_peak=peak); out.write(json.dumps(r) + "\n"); out.flush()

main()
