//! Settings that are valid, and what is said of those that are not.

use super::*;

#[test]
fn the_defaults_are_valid() {
    Config::default().validate().unwrap();
}

#[test]
fn an_error_names_the_key_the_value_and_what_is_expected() {
    let mut config = Config::default();
    config.timeouts.idle_ms = 0;
    let error = config.validate().unwrap_err().to_string();
    assert_eq!(error, "gateway.timeouts.idle_ms: 0 is not valid: expected a whole number from 1 on");

    let mut config = Config::default();
    config.limits.capture_bytes = 12 << 20;
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("gateway.limits.capture_bytes: 12582912") && error.contains("524288"), "{error}");

    let config = Config { collector_url: "localhost:4318".into(), ..Config::default() };
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("collector_url") && error.contains("localhost:4318"), "{error}");

    let mut config = Config::default();
    config.budgets.grant = Some(contracts::Usd::from_picos(-1));
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("budgets.grant: -0.000000000001"), "{error}");

    // Nothing that is meant to be encrypted goes in clear because of a letter.
    let mut config = Config { redis_ca_file: Some("ca.pem".into()), ..Config::default() };
    config.budgets.redis = "redis://127.0.0.1:6379".into();
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("gateway.redis_ca_file: ca.pem"), "{error}");
    config.cache.redis = "rediss://127.0.0.1:6379".into();
    config.validate().unwrap();

    let config = Config { trusted_proxies: vec!["::/0".parse().unwrap()], ..Config::default() };
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("gateway.trusted_proxies: ::/0"), "{error}");
}
