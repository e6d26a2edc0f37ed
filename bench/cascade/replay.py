#!/usr/bin/env python3
"""A fitted cascade, measured through the gateway. See README.md."""
import argparse, concurrent.futures as cf, gzip, http.client, json, os, signal, socket, subprocess, sys, time
from decimal import Decimal

TIERS = ["Llama-3.1-8B", "Gemini-2.0-Flash", "Gemini-2.5-Pro"]
ROUTE = "cheapest-good-answer"

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0)); return s.getsockname()[1]

def rows(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as f:
        return [json.loads(line) for line in f.read().split(b"\n") if line.strip()]

class Gateway:
    def __init__(self, port, key): self.port, self.key = port, key
    def call(self, model, row, how):
        """the answer's text, the model that gave it, what the whole request cost"""
        message = f"{row['prompt']}\n\n{row['context']}" if row.get("context") else row["prompt"]
        body = {"model": model, "messages": [{"role": "user", "content": message}]}
        if how == "named": body["control_tower"] = {"context": [{"id": "1", "text": row["context"]}]}
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        c.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {self.key}", "content-type": "application/json"})
        r = c.getresponse(); text = r.read(); c.close()
        if r.status != 200: raise SystemExit(f"{r.status} {text[:300]}")
        answer = json.loads(text)
        return answer["choices"][0]["message"]["content"], r.getheader("x-control-tower-model"), Decimal(r.getheader("x-control-tower-cost-usd"))

def wait(what, port, headers, process):
    for _ in range(600):
        if process.poll() is not None: raise SystemExit(f"{what} ended")
        try:
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=2); c.request("GET", "/v1/models", headers=headers)
            if c.getresponse().status == 200: return
        except OSError: pass
        time.sleep(0.1)
    raise SystemExit(f"{what} is not ready")

def by_lot(singles, cost):
    """the best share of acceptable answers that asking one of two models by lot has at this cost"""
    best = 0.0
    for q1, c1 in singles:
        if c1 <= cost: best = max(best, q1)
        for q2, c2 in singles:
            if c1 <= cost < c2: best = max(best, q1 + float((cost - c1) / (c2 - c1)) * (q2 - q1))
    return best

def half(a, seed, every, work):
    """fits on one half and plays the other through the gateway"""
    out = {n: os.path.join(work, n) for n in ("cascade.json", "held.json", "decisions.jsonl")}
    embedder = ["--model-dir", a.model_dir] if a.model_dir else ["--lexical"]
    fit = [a.tower, "cascade", "fit", "--answers", a.answers, "--tiers", ",".join(TIERS), "--target-cost", a.target_cost, "--splits", "1",
           "--resamples", "1", "--seed", str(seed), "--out", out["cascade.json"], "--hold-out", out["held.json"], "--decisions", out["decisions.jsonl"], "--json"]
    subprocess.run(fit + embedder, check=True, stdout=subprocess.DEVNULL)
    cascade = json.load(open(out["cascade.json"])); offline = [json.loads(l) for l in open(out["decisions.jsonl"])]
    # A check that is late decides by chance; here every one is waited for.
    cascade["detector_deadline_ms"] = 60_000
    models = [t["model"] for t in cascade["tiers"]]
    spec = lambda name, value: (json.dump(value, open(os.path.join(work, name), "w")), os.path.join(work, name))[1]
    sim, port = free_port(), free_port()
    config = os.path.join(work, "control-tower.toml")
    with open(config, "w") as f:
        f.write(f'[control]\nurl = "sqlite://{work}/control.db"\n[gateway]\nlisten = "127.0.0.1:{port}"\ncollector_url = "http://127.0.0.1:9"\n'
                + f'[gateway.spool]\ndir = "{work}/spool"\n[gateway.budgets]\ndir = "{work}/budgets"\n'
                + (f'[inference]\nmodel_dir = "{a.model_dir}"\n' if a.model_dir else ""))
    def admin(*args): return json.loads(subprocess.run([a.tower, *args, "--json", "--config", config], check=True, capture_output=True, text=True).stdout or "null")
    admin("prices", "seed")
    admin("provider", "create", "sim", "--base-url", f"http://127.0.0.1:{sim}/v1", "--price-as", "sim")
    for m in models: admin("model", "create", m, "--provider", "sim")
    admin("cascade", "set", "fitted", "--file", spec("policy.json", cascade))
    admin("route", "create", ROUTE, "--model", models[0], "--spec-file", spec("route.json", {"cascade": "fitted"}))
    admin("tenant", "create", "replay", "--name", "Replay")
    key = admin("key", "create", "--tenant", "replay", "--name", "replay")["secret"]
    log = open(os.path.join(work, "processes.log"), "ab"); running = []
    try:
        for args in (["sim", "--listen", f"127.0.0.1:{sim}", "--answers", a.answers], ["gateway"]):
            running.append(subprocess.Popen([a.tower, *args, "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        wait("sim", sim, {}, running[0]); wait("gateway", port, {"authorization": f"Bearer {key}"}, running[1])
        return play(a, Gateway(port, key), models, offline, every)
    finally:
        for p in reversed(running):
            p.send_signal(signal.SIGTERM)
            try: p.wait(30)
            except subprocess.TimeoutExpired: p.kill(); p.wait()

def play(a, gateway, models, offline, every):
    asked = offline[: a.prompts] if a.prompts else offline
    by_id = {(r["prompt_id"], r["model"]): r for r in every}
    def served(model, line, how):
        row = by_id[line["prompt_id"], models[0]]
        text, name, cost = gateway.call(model, row, how)
        chosen = by_id[line["prompt_id"], name]
        # What is measured is the recorded answer, to the letter, or it is nothing.
        assert text == chosen["answer"], (line["prompt_id"], name)
        return {"prompt_id": line["prompt_id"], "model": name, "quality": chosen["quality"], "cost": cost}
    with cf.ThreadPoolExecutor(2) as pool:
        run = lambda model, how: list(pool.map(lambda line: served(model, line, how), asked))
        alone = {m: run(m, "inline") for m in models}
        routed = {how: run(ROUTE, how) for how in ("named", "inline")}
    mean = lambda got: (sum(g["quality"] for g in got) / len(got), sum((g["cost"] for g in got), Decimal(0)) / len(got))
    singles = {m: mean(got) for m, got in alone.items()}
    out = {"prompts": len(asked), "alone": {m: {"acceptable": q, "cost": str(c)} for m, (q, c) in singles.items()}, "ways": {}}
    last_q, last_c = singles[models[-1]]
    told = {l["prompt_id"]: l for l in asked}
    for how, got in {"offline": [{**l, "cost": Decimal(l["cost"])} for l in asked], **routed}.items():
        q, c = mean(got); lot = by_lot(list(singles.values()), c)
        same = sum(g["model"] == told[g["prompt_id"]]["model"] for g in got)
        same_cost = sum(g["cost"] == Decimal(told[g["prompt_id"]]["cost"]) for g in got)
        out["ways"][how] = {"acceptable": q, "cost": str(c), "cost_of_last": float(c / last_c), "less_last": q - last_q, "by_lot": lot, "less_by_lot": q - lot,
                            "same_model": same, "same_cost": same_cost, "served": {m: sum(g["model"] == m for g in got) for m in models}}
    return out

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--tower", required=True); ap.add_argument("--answers", required=True); ap.add_argument("--work", required=True)
    ap.add_argument("--model-dir", default="", help="the embedder's; words alone without")
    ap.add_argument("--target-cost", default="48%"); ap.add_argument("--seeds", default="1,2,3")
    ap.add_argument("--prompts", type=int, default=0, help="only so many of each half")
    a = ap.parse_args()
    every, results = rows(a.answers), []
    for seed in a.seeds.split(","):
        work = os.path.join(a.work, seed); os.makedirs(work)
        results.append({"seed": int(seed), **half(a, int(seed), every, work)})
        print(json.dumps(results[-1]), flush=True)
    pct = lambda x: f"{100 * x:.1f}%"
    print("\n| half | way | prompts | acceptable | less Pro's, points | cost, of Pro's | less by lot, points | decided as offline | cost as offline | served by |\n|" + "---|" * 10)
    for r in results:
        for how, w in r["ways"].items():
            served = ", ".join(f"{m.split('/')[-1]} {n}" for m, n in w["served"].items())
            print(f"| {r['seed']} | {how} | {r['prompts']} | {pct(w['acceptable'])} | {100 * w['less_last']:+.1f} | {pct(w['cost_of_last'])} | {100 * w['less_by_lot']:+.1f} | {w['same_model']} | {w['same_cost']} | {served} |")
    n = sum(r["prompts"] for r in results)
    total = lambda of: sum(of(r) * r["prompts"] for r in results) / n
    models = list(results[0]["alone"])
    last = total(lambda r: float(r["alone"][models[-1]]["cost"]))
    print("\n| over all halves | acceptable | cost a request | of Pro's |\n|---|---|---|---|")
    for m in models:
        c = total(lambda r: float(r["alone"][m]["cost"])); print(f"| {m} alone | {pct(total(lambda r: r['alone'][m]['acceptable']))} | ${c:.6f} | {pct(c / last)} |")
    for how in results[0]["ways"]:
        c = total(lambda r: float(r["ways"][how]["cost"]))
        print(f"| by lot, at the cost of the next | {pct(total(lambda r: r['ways'][how]['by_lot']))} | ${c:.6f} | {pct(c / last)} |\n| cascade, {how} | {pct(total(lambda r: r['ways'][how]['acceptable']))} | ${c:.6f} | {pct(c / last)} |")

main()
