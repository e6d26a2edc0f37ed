//! Policy as an operator writes it in a file: TOML or JSON.

use anyhow::{Context, bail};
use contracts::policy::shape;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Reads a file, or standard input when it is `-`. What begins with `{` is JSON, anything else TOML.
pub(super) fn read(file: &Path) -> anyhow::Result<Value> {
    let mut text = String::new();
    let reading = || format!("cannot read {}", file.display());
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).with_context(reading)?;
    } else {
        text = std::fs::read_to_string(file).with_context(reading)?;
    }
    parse_text(&text).with_context(|| format!("{} cannot be understood", file.display()))
}

/// Reads a file of the right types.
pub(super) fn parse<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    shape(&read(file)?).with_context(|| format!("{} is not valid", file.display()))
}

fn parse_text(text: &str) -> anyhow::Result<Value> {
    if text.trim().is_empty() {
        bail!("it is empty: expected JSON or TOML");
    }
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).context("not JSON");
    }
    toml::from_str(text).context("not TOML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_toml_say_the_same() {
        let expected = json!({"limit": "1.50", "scope": {"tenant": "acme"}, "tiers": [{"model": "m"}]});
        let toml = "limit = \"1.50\"\n[scope]\ntenant = \"acme\"\n[[tiers]]\nmodel = \"m\"\n";
        assert_eq!(parse_text(toml).unwrap(), expected);
        assert_eq!(parse_text(&expected.to_string()).unwrap(), expected);
        for bad in ["", " \n", "{", "a = ", "[1, 2]"] {
            assert!(parse_text(bad).is_err(), "{bad:?}");
        }
    }
}
