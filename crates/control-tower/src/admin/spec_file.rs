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
    use crate::compilers::COMPILERS;
    use contracts::policy::{InvalidPolicy, RouteSpec, spec};
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

    /// What is read is of its kind, and holds.
    fn holds<T: DeserializeOwned>(value: &Value, check: impl Fn(&T) -> Result<(), InvalidPolicy>) {
        check(&shape::<T>(value).unwrap()).unwrap();
    }

    #[test]
    fn every_example_of_the_documentation_is_valid() {
        let text = include_str!("../../../../docs/POLICY.md");
        let mut seen = Vec::new();
        for block in text.split("```toml ").skip(1) {
            let (kind, rest) = block.split_once('\n').unwrap();
            let (example, _) = rest.split_once("```").unwrap();
            let value = parse_text(example).unwrap_or_else(|error| panic!("{kind}: {error:#}"));
            match kind {
                "route" => holds(&value, RouteSpec::validate),
                "plan" => holds(&value, spec::Plan::validate),
                "budget" => holds(&value, spec::Budget::validate),
                "pool" => holds(&value, spec::Pool::validate),
                "cascade" => holds(&value, spec::Cascade::validate),
                "cache" => holds(&value, spec::Cache::validate),
                "guardrail" => {
                    holds(&value, spec::Guardrail::validate);
                    holds(&value, COMPILERS.guardrail);
                }
                "experiment" => holds(&value, spec::Experiment::validate),
                "prompt" => {
                    holds(&value, spec::Prompt::validate);
                    holds(&value, COMPILERS.prompt);
                }
                other => panic!("{other}"),
            }
            seen.push(kind);
        }
        seen.dedup();
        assert_eq!(seen.len(), 9, "{seen:?}");
    }
}
