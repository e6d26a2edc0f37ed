//! The administrative commands as a script uses them: one process a command, JSON out, status by exit code.

use contracts::policy::experiment::{ArmStats, Measured};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Runs `control-tower` with `arguments` on the data directory.
fn control_tower(data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_control-tower"))
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .env_remove("CONTROL_TOWER_CONTROL_URL")
        .env_remove("CONTROL_TOWER_CONFIG")
        .output()
        .unwrap()
}

/// The JSON that a command answers with.
fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = control_tower(data, &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The text that a command answers with.
fn text(data: &Path, arguments: &[&str]) -> String {
    let output = control_tower(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that must fail says.
fn refusal(data: &Path, arguments: &[&str]) -> String {
    let output = control_tower(data, arguments);
    assert!(!output.status.success(), "{arguments:?} should fail");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_tenant_with_a_key_that_opens_one_model_for_ninety_days() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let tenant = json(data, &["tenant", "create", "acme", "--name", "Acme Größe", "--retention-days", "7"]);
    assert_eq!((tenant["id"].as_str(), tenant["name"].as_str()), (Some("acme"), Some("Acme Größe")));
    assert_eq!(
        (tenant["retention_days"].as_u64(), tenant["capture_content"].as_bool()),
        (Some(7), Some(true))
    );

    json(
        data,
        &[
            "provider",
            "create",
            "openai",
            "--base-url",
            "https://api.openai.com/v1",
            "--secret",
            "literal:sk-1",
        ],
    );
    json(data, &["model", "create", "gpt-4o-mini", "--provider", "openai", "--tier", "mid"]);
    json(data, &["route", "create", "bot", "--model", "gpt-4o-mini", "--tenant", "acme"]);

    let create = ["key", "create", "--tenant", "acme", "--model", "gpt-4o-mini", "--expires", "90d"];
    let key = json(data, &create);
    let (id, secret) = (key["id"].as_str().unwrap(), key["secret"].as_str().unwrap());
    assert!(secret.starts_with("ct-") && secret.len() == 67);
    assert_eq!(key["allowed_models"], serde_json::json!(["gpt-4o-mini"]));
    let time = |field: &str| control::records::parse_time(key[field].as_str().unwrap()).unwrap();
    let lasts = time("expires_at").unix_nanos() - time("created_at").unix_nanos();
    assert_eq!(lasts, 90 * 24 * 3600 * 1_000_000_000);

    // For people: the secret once, then only its beginning.
    let shown = text(data, &create);
    assert!(shown.contains("shown this once") && shown.contains("    ct-"), "{shown}");
    let list = text(data, &["keys", "list"]);
    assert!(list.starts_with("ID ") && list.contains(id) && list.contains(&secret[..11]), "{list}");
    assert!(!list.contains(secret), "{list}");
    assert_eq!(list.lines().count(), 3);

    assert!(json(data, &["key", "revoke", id])["revoked_at"].is_string());
    assert!(text(data, &["key", "list"]).contains("revoked"));
    let provider = json(data, &["provider", "list"]);
    assert_eq!(provider[0]["secret"], "literal:(hidden)");
    assert_eq!(provider[0]["secret_state"]["state"], "resolved");
    assert_eq!(json(data, &["routes", "list"])[0]["tenant"], "acme");
}

#[test]
fn what_is_refused_says_why_and_exits_with_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    text(data, &["tenant", "create", "acme"]);
    text(data, &["key", "create", "--tenant", "acme"]);
    let cases: &[(&[&str], &str)] = &[
        (&["tenant", "create", "acme"], "tenant \"acme\" already exists"),
        (&["tenant", "delete", "acme"], "tenant \"acme\" is in use by 1 key: remove these first"),
        (
            &["tenant", "update", "acme", "--retention-days", "4000"],
            "retention_days: \"4000\" is not valid, expected 1 to 3650",
        ),
        (&["key", "create", "--tenant", "nobody"], "tenant \"nobody\" does not exist"),
        (&["key", "create", "--tenant", "acme", "--expires", "soon"], "expected a duration such as 90d"),
        (&["tenant", "create", "two words"], "expected 1 to 128 characters"),
        (&["provider", "create", "p", "--base-url", "ftp://host"], "base_url: \"ftp://host\" is not valid"),
        (&["model", "create", "m", "--provider", "nowhere"], "provider \"nowhere\" does not exist"),
        (&["user", "delete", "nobody"], "user \"nobody\" does not exist"),
    ];
    for (arguments, message) in cases {
        let error = refusal(data, arguments);
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    let error = refusal(data, &["provider", "create", "p", "--base-url", "https://h", "--secret", "sk-oops"]);
    assert!(error.contains("expected env:NAME, file:/absolute/path or literal:SECRET"), "{error}");
}

/// A policy of each kind in TOML, and another in JSON.
const OF_EVERY_KIND: [(&str, &str, &str); 7] = [
    ("plan", "requests_per_minute = 60\n", r#"{"requests_per_minute": 90}"#),
    (
        "budget",
        "limit = \"1\"\n[scope]\nkind = \"tenant\"\ntenant = \"acme\"\n",
        r#"{"limit": "2.50", "scope": {"kind": "organisation", "organisation": "big"}}"#,
    ),
    ("pool", "slow_start_ms = 1000\n", r#"{"slow_start_ms": 2000}"#),
    ("cascade", "[[tiers]]\nmodel = \"m\"\n", r#"{"tiers": [{"model": "m", "timeout_ms": 5000}]}"#),
    ("cache", "ttl_seconds = 60\n[semantic]\n", r#"{"ttl_seconds": 90}"#),
    (
        "guardrail",
        "[[input]]\nname = \"length\"\naction = \"block\"\n[input.check]\nmax_chars = 100\n",
        r#"{"input": [{"name": "length", "check": {"max_chars": 200}, "action": "flag"}]}"#,
    ),
    (
        "experiment",
        "[[arms]]\nname = \"a\"\n[[arms]]\nname = \"b\"\n",
        r#"{"arms": [{"name": "a", "weight": 2}, {"name": "b"}]}"#,
    ),
];

#[test]
fn policy_of_every_kind_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let file = |name: &str, text: &str| {
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    text(
        data,
        &["provider", "create", "p", "--base-url", "https://h", "--protocol", "anthropic", "--beta", "b"],
    );
    text(data, &["model", "create", "m", "--provider", "p"]);
    text(data, &["tenant", "create", "acme", "--organisation", "big"]);
    assert_eq!(json(data, &["provider", "show", "p"])["settings"], serde_json::json!({"betas": ["b"]}));

    for (kind, in_toml, in_json) in OF_EVERY_KIND {
        let (toml, json_file) = (file("a.toml", in_toml), file("b.json", in_json));
        let written = json(data, &[kind, "set", "m", "--file", &toml]);
        let spec: Value = toml::from_str(in_toml).unwrap();
        assert_eq!((&written["kind"], &written["spec"]), (&kind.into(), &spec));
        let revision = written["revision"].to_string();
        let changed = json(data, &[kind, "set", "m", "--file", &json_file, "--revision", &revision]);
        assert_eq!(changed["spec"], serde_json::from_str::<Value>(in_json).unwrap());
        assert_eq!(json(data, &[kind, "get", "m"]), changed);
        let stale = refusal(data, &[kind, "set", "m", "--file", &toml, "--revision", &revision]);
        assert!(stale.contains("read it again"), "{stale}");
        let listed = text(data, &[&format!("{kind}s"), "list"]);
        assert!(listed.starts_with("TENANT  NAME") && listed.contains("(all)"), "{listed}");
    }
    let error =
        refusal(data, &["budget", "set", "b", "--file", &file("c.toml", "colour = 1\nlimit = \"1\"\n")]);
    assert!(
        error.contains("budget \"b\": colour: 1 is not valid") && error.contains("unknown field"),
        "{error}"
    );
    let error = refusal(data, &["plan", "set", "p", "--file", &file("d.toml", "a = ")]);
    assert!(error.contains("d.toml cannot be understood"), "{error}");
    assert!(refusal(data, &["plan", "set", "p", "--file", "/nowhere"]).contains("cannot read /nowhere"));

    text(data, &["tenant", "update", "acme", "--plan", "m"]);
    assert!(refusal(data, &["plan", "delete", "m"]).contains("in use by tenant \"acme\""));
    assert_eq!(json(data, &["tenant", "update", "acme", "--no-plan"])["plan"], Value::Null);
    text(data, &["plan", "delete", "m"]);

    let first = file("first.toml", "[[messages]]\nrole = \"system\"\ncontent = \"Be brief.\"\n");
    let second = file("second.json", r#"{"messages": [{"role": "system", "content": "Be kind."}]}"#);
    let version = json(data, &["prompt", "create", "hello", "--file", &first, "--label", "production"]);
    assert_eq!((&version["version"], &version["created_by"]), (&1.into(), &"cli".into()));
    text(data, &["prompt", "create", "hello", "--file", &second]);
    let broken = file("broken.toml", "[[messages]]\nrole = \"system\"\ncontent = \"Hello {{ who\"\n");
    let error = refusal(data, &["prompt", "create", "hello", "--file", &broken]);
    assert!(error.contains("prompt \"hello\": messages[0].content: "), "{error}");
    let broken =
        r#"{"input": [{"name": "r", "check": {"regex": {"patterns": ["a(b"]}}, "action": "block"}]}"#;
    let error = refusal(data, &["guardrail", "set", "g", "--file", &file("broken.json", broken)]);
    assert!(error.contains("guardrail \"g\": input[0].check") && error.contains("a(b"), "{error}");
    let prompt = json(data, &["prompt", "label", "hello", "production", "--version", "2"]);
    assert_eq!(prompt["labels"]["production"], 2);
    let shown = json(data, &["prompt", "show", "hello", "--label", "production"]);
    assert_eq!(shown["spec"]["messages"][0]["content"], "Be kind.");
    assert!(text(data, &["prompt", "list"]).contains("1-2"));

    let spec = file("route.toml", "cascade = \"m\"\ntags = [\"a\"]\n[prompt]\nname = \"hello\"\n");
    let route = json(data, &["route", "create", "bot", "--model", "m", "--spec-file", &spec]);
    assert_eq!(route["spec"]["cascade"], "m");
    assert!(refusal(data, &["cascade", "delete", "m"]).contains("in use by route \"bot\""));
    let wrong = file("wrong.toml", "cascades = \"m\"\n");
    let error = refusal(data, &["route", "update", "bot", "--spec-file", &wrong]);
    assert!(error.contains("cascades: \"m\" is not valid"), "{error}");
    assert_eq!(json(data, &["route", "update", "bot", "--no-spec"])["spec"], Value::Null);

    let log = json(data, &["audit", "list", "--kind", "route"]);
    assert_eq!((&log["data"][0]["actor"], &log["data"][0]["action"]), (&"cli".into(), &"update".into()));
    let shown = text(data, &["audit", "list", "--limit", "2"]);
    assert!(shown.contains("route bot") && shown.contains("more: --cursor"), "{shown}");
}

#[test]
fn an_experiment_is_paused_and_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let file = data.join("tone.toml");
    std::fs::write(&file, "[[arms]]\nname = \"a\"\nweight = 3\n[[arms]]\nname = \"b\"\n").unwrap();
    text(data, &["tenant", "create", "acme"]);
    let own = |what: &[&str]| json(data, &[&["experiment"], what, &["--tenant", "acme"]].concat());
    let written = own(&["set", "tone", "--file", file.to_str().unwrap()]);
    let paused = own(&["pause", "tone"]);
    let mut spec = written["spec"].clone();
    spec["status"] = "paused".into();
    assert_eq!(paused["spec"], spec);
    assert_eq!(own(&["pause", "tone"]), paused, "it is paused already");
    assert_eq!(own(&["get", "tone"]), paused);
    let said = text(data, &["experiment", "resume", "tone", "--tenant", "acme"]);
    assert!(said.starts_with("experiment tone is running, at revision "), "{said}");
    spec["status"] = "running".into();
    assert_eq!(own(&["get", "tone"])["spec"], spec);

    let log = json(data, &["audit", "list", "--kind", "experiment", "--action", "update"]);
    let change = &log["data"][0];
    assert_eq!((&change["actor"], &change["tenant"]), (&"cli".into(), &"acme".into()));
    assert_eq!((&change["before"]["spec"], &change["after"]["spec"]), (&paused["spec"], &spec));
    assert_eq!(log["data"].as_array().unwrap().len(), 2);

    for what in ["pause", "resume"] {
        let error = refusal(data, &["experiment", what, "tone"]);
        assert!(error.contains("experiment \"tone\" does not exist"), "{error}");
    }
}

/// Writes what an evaluator would.
fn measure(data: &Path, tenant: Option<&str>, name: &str, measured: &Measured) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = format!("sqlite://{}", data.join("control.db").display());
    let tenant = tenant.map(|tenant| tenant.parse().unwrap());
    let written = runtime.block_on(async {
        let control = control::Control::open(&url).await.unwrap();
        let at = control::records::parse_time("2026-01-31T12:00:00Z").unwrap();
        control.judging().measurements().put(tenant.as_ref(), &name.parse().unwrap(), measured, at).await
    });
    assert!(written.unwrap());
}

#[test]
fn shares_of_an_experiment_are_those_that_gateways_deal() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let file = data.join("tone.json");
    let mut spec = serde_json::json!({
        "arms": [{"name": "a", "weight": 9}, {"name": "off", "weight": 0}, {"name": "b", "weight": 1}],
    });
    let set = |spec: &Value, of: &[&str]| {
        std::fs::write(&file, spec.to_string()).unwrap();
        json(data, &[&["experiment", "set", "tone", "--file", file.to_str().unwrap()], of].concat());
    };
    text(data, &["tenant", "create", "acme"]);
    set(&spec, &[]);
    let shares = |dealt: &Value| -> Vec<f64> {
        dealt["arms"].as_array().unwrap().iter().map(|arm| arm["share"].as_f64().unwrap()).collect()
    };
    let fixed = json(data, &["experiment", "shares", "tone"]);
    assert_eq!((shares(&fixed), &fixed["metric"]), (vec![0.9, 0.0, 0.1], &Value::Null));
    let shown = text(data, &["experiment", "shares", "tone"]);
    assert!(shown.starts_with("ARM  WEIGHT  OBSERVATIONS  MEAN  SHARE\n"), "{shown}");
    assert!(shown.contains("a    9       0             -     90.0%\n"), "{shown}");
    assert!(shown.ends_with("shares are fixed by the weights\n"), "{shown}");

    spec["adaptive"] = serde_json::json!({"metric": "useful", "outcome": "binary", "min_share": 0.1});
    let own = ["--tenant", "acme"];
    set(&spec, &own);
    let of_acme = ["experiment", "shares", "tone", "--tenant", "acme"];
    let arm = |name: &str, successes, failures| (name.to_owned(), ArmStats::Binary { successes, failures });
    let seen = |arms: [(String, ArmStats); 2]| Measured { metric: "useful".into(), arms: arms.into() };
    measure(data, Some("acme"), "tone", &seen([arm("a", 10, 80), arm("b", 60, 40)]));
    let early = json(data, &of_acme);
    assert_eq!((shares(&early), &early["arms"][0]["observations"]), (vec![0.9, 0.0, 0.1], &90.into()));
    assert!(text(data, &of_acme).contains("the weights hold as written until useful was measured"));

    let measured = seen([arm("a", 100, 900), arm("b", 130, 870)]);
    measure(data, Some("acme"), "tone", &measured);
    let dealt = json(data, &of_acme);
    let experiment = serde_json::from_value(spec).unwrap();
    let gateways = prompts::shares("acme/tone", &experiment, &measured).unwrap();
    for (share, of_gateways) in shares(&dealt).iter().zip(&gateways) {
        assert!((share - of_gateways).abs() < 1e-12, "{dealt} {gateways:?}");
    }
    assert!(shares(&dealt)[2] > 0.8, "{dealt}");
    assert_eq!((&dealt["arms"][2]["observations"], &dealt["arms"][2]["mean"]), (&1000.into(), &0.13.into()));
    assert_eq!((&dealt["is_adapted"], &dealt["measured_at"]), (&true.into(), &"2026-01-31T12:00:00Z".into()));
    let shown = text(data, &of_acme);
    assert!(shown.contains("1000          0.130000"), "{shown}");
    assert!(
        shown.ends_with(
            "shares follow what was measured of useful, which last changed 2026-01-31T12:00:00Z\n"
        ),
        "{shown}"
    );

    text(data, &["experiment", "pause", "tone", "--tenant", "acme"]);
    assert_eq!(shares(&json(data, &of_acme)), [1.0, 0.0, 0.0]);
    assert!(text(data, &of_acme).contains("paused: everybody gets the control"));
    let error = refusal(data, &["experiment", "shares", "none"]);
    assert!(error.contains("experiment \"none\" does not exist"), "{error}");
}

/// A process that ends with the test, whatever comes of it.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What `doctor` finds of the budgets' Redis, all of it as text.
fn doctor_on_redis(data: &Path, url: &str) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_control-tower"))
        .args(["doctor", "--json", "--data-dir"])
        .arg(data)
        .env("CONTROL_TOWER__GATEWAY__BUDGETS__REDIS", url)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "budgets' Redis");
    let check = check.unwrap_or_else(|| panic!("{report:#}"));
    (check["ok"] == true, check.to_string())
}

#[test]
fn doctor_says_whether_the_redis_of_budgets_lets_us_in() {
    let directory = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--requirepass", "sesame"])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let server = Stopped(server);
    let open = format!("redis://:sesame@127.0.0.1:{port}");
    let mut tries = 0;
    while !doctor_on_redis(directory.path(), &open).0 {
        tries += 1;
        assert!(tries < 1_000, "redis-server does not start");
    }
    let (ok, said) = doctor_on_redis(directory.path(), &format!("redis://:mellon@127.0.0.1:{port}"));
    assert!(!ok && !said.contains("mellon"), "{said}");
    drop(server);
    let (ok, said) = doctor_on_redis(directory.path(), &open);
    assert!(!ok && !said.contains("sesame"), "{said}");
}

#[test]
fn the_command_line_goes_before_the_configuration_and_that_before_the_environments_directory() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    for name in ["environment", "configured", "line"] {
        std::fs::create_dir(place(name)).unwrap();
    }
    let url = |name: &str| format!("sqlite://{}", place(name).join("control.db").display());
    let (line, configured) = (place("line"), url("configured"));
    let file = place("tower.toml");
    std::fs::write(&file, format!("[control]\nurl = {configured:?}\n")).unwrap();
    for (arguments, is_configured, meant) in [
        (vec!["--control-url", &url("line")], true, "line"),
        (vec!["--data-dir", line.to_str().unwrap()], true, "line"),
        (vec!["--config", file.to_str().unwrap()], false, "configured"),
        (vec![], true, "configured"),
        (vec![], false, "environment"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-tower"));
        command
            .args(["tenant", "list"])
            .args(&arguments)
            .env_remove("CONTROL_TOWER_CONTROL_URL")
            .env_remove("CONTROL_TOWER_CONFIG")
            .env("CONTROL_TOWER_DATA_DIR", place("environment"));
        if is_configured {
            command.env("CONTROL_TOWER__CONTROL__URL", &configured);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for name in ["environment", "configured", "line"] {
            let database = place(name).join("control.db");
            assert_eq!(database.exists(), name == meant, "{arguments:?} {is_configured}: {name}");
            for left in std::fs::read_dir(place(name)).unwrap() {
                std::fs::remove_file(left.unwrap().path()).unwrap();
            }
        }
    }
}
