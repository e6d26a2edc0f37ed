//! Configuration as users write it, right and wrong. The environment is given, never the process's own: tests share it.

use super::*;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Config {
    gateway: Gateway,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Gateway {
    listen: SocketAddr,
    #[serde(with = "duration")]
    idle_timeout: Duration,
    max_body: ByteSize,
    collector_key: String,
    upstreams: Vec<String>,
    full: Full,
    note: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Full {
    Refuse,
    Drop,
}

#[expect(clippy::derivable_impls, reason = "symmetric with the section below")]
impl Default for Config {
    fn default() -> Self {
        Self { gateway: Gateway::default() }
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".parse().unwrap(),
            idle_timeout: Duration::from_secs(30),
            max_body: ByteSize::mib(32),
            collector_key: String::new(),
            upstreams: Vec::new(),
            full: Full::Refuse,
            note: None,
        }
    }
}

/// Loads with `text` as the file and `env` as the environment's variables, less their prefix.
fn load_text(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let values: Dict = Toml::from_str(text).unwrap();
    let base = Figment::new().merge(Serialized::defaults(values));
    extract(base, env, Some(Path::new("tower.toml"))).map_err(|error| error.to_string())
}

#[test]
fn file_and_environment_are_layered() {
    let text = r#"
        [gateway]
        listen = "0.0.0.0:80"
        idle_timeout = "250ms"
        max_body = "1MiB"
        full = "drop"
    "#;
    let env =
        [("GATEWAY__MAX_BODY", "64 KiB"), ("GATEWAY__UPSTREAMS", r#"["a", "b"]"#), ("GATEWAY__NOTE", "42")];
    let config = load_text(text, &env).unwrap();
    let expected = Gateway {
        listen: "0.0.0.0:80".parse().unwrap(),
        idle_timeout: Duration::from_millis(250),
        max_body: ByteSize::kib(64),
        upstreams: vec!["a".to_owned(), "b".to_owned()],
        full: Full::Drop,
        note: Some("42".to_owned()),
        ..Gateway::default()
    };
    assert_eq!(config.gateway, expected);
}

#[test]
fn a_key_of_digits_stays_text() {
    for digits in ["12345", "true", "1e5", "-7", "007"] {
        let env = [("GATEWAY__COLLECTOR_KEY", digits), ("GATEWAY__NOTE", digits)];
        let gateway = load_text("", &env).unwrap().gateway;
        assert_eq!(gateway.collector_key, digits);
        assert_eq!(gateway.note.as_deref(), Some(digits));
    }
}

#[test]
fn errors_name_key_value_and_what_is_expected() {
    type Env = &'static [(&'static str, &'static str)];
    let cases: [(&str, Env, &[&str]); 8] = [
        ("[gateway]\nlisten = 'here'", &[], &["gateway.listen", "tower.toml", "\"here\"", "socket address"]),
        ("[gateway]\nidle_timeout = 'soon'", &[], &["gateway.idle_timeout", "\"soon\"", "duration"]),
        ("[gateway]\nmax_body = 'big'", &[], &["gateway.max_body", "\"big\""]),
        ("[gateway]\nfull = 'explode'", &[], &["gateway.full", "\"explode\"", "refuse, drop"]),
        ("[gateway]\nlisen = 1", &[], &["gateway.lisen", "no such key", "listen"]),
        ("[gatway]", &[], &["gatway", "no such key", "gateway"]),
        ("", &[("GATEWAY__LISTEN", "9")], &["gateway.listen", "CONTROL_TOWER__GATEWAY__LISTEN", "9"]),
        ("", &[("GATEWAY__LISEN", "9")], &["gateway.lisen", "no such key"]),
    ];
    for (text, env, words) in cases {
        let error = load_text(text, env).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{text:?}, {env:?}: {error:?} lacks {word:?}");
        }
    }
}

#[test]
fn secrets_are_not_repeated() {
    let error = load_text("[gateway]\ncollector_key = 987654", &[]).unwrap_err();
    assert!(error.contains("gateway.collector_key") && !error.contains("987654"), "{error}");
}

#[test]
fn a_missing_or_broken_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tower.toml");
    let error = load::<Config>(Some(&path)).unwrap_err();
    assert!(matches!(&error, ConfigError::Unreadable { path: p, .. } if *p == path), "{error}");
    std::fs::write(&path, "[gateway\n").unwrap();
    let error = load::<Config>(Some(&path)).unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
    assert!(error.to_string().contains("tower.toml"), "{error}");
}

#[test]
fn nothing_at_all_is_the_default() {
    assert_eq!(load_text("", &[]).unwrap().gateway, Gateway::default());
}
