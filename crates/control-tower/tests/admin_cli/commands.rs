//! The administrative commands as a script uses them: one process a command, JSON out, status by exit code.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

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
