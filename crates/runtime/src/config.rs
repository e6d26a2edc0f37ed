//! Configuration: one TOML file, each key of which the environment can override, read once at start.
//!
//! The key `gateway.max_body` is overridden by `CONTROL_TOWER__GATEWAY__MAX_BODY`. A value in the environment is read as a
//! TOML value (`8080`, `true`, `["a", "b"]`), or else as text; where text is wanted, it is text whatever it looks like.
//! Unknown keys are refused when the target type says `#[serde(deny_unknown_fields)]`, as ours do.

pub use bytesize::ByteSize;
/// For `#[serde(with = "runtime::config::duration")]`: durations such as `"30s"`, `"250ms"` or `"1h 30m"`.
pub use humantime_serde as duration;

use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// What the names of environment variables that carry configuration begin with.
pub const ENV_PREFIX: &str = "CONTROL_TOWER__";

/// Why a configuration was refused. The text names the key, the value and what is expected.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("configuration file {}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {}: not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A key has a value that does not fit, or is not known.
    #[error("{0}")]
    Invalid(String),
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{section}.{key}: {value} is not valid: expected {expected}")]
pub struct InvalidSetting {
    /// Which section.
    pub section: &'static str,
    /// Which key of it.
    pub key: &'static str,
    /// Its value; secrets are not repeated.
    pub value: String,
    /// What it should be.
    pub expected: &'static str,
}

/// A section of the configuration, by its name.
#[derive(Debug, Clone, Copy)]
pub struct Section(pub &'static str);

impl Section {
    /// What types cannot say of a setting: that it `holds`, or else what is expected.
    pub fn check(
        self,
        holds: bool,
        key: &'static str,
        value: impl Display,
        expected: &'static str,
    ) -> Result<(), InvalidSetting> {
        if holds {
            return Ok(());
        }
        Err(InvalidSetting { section: self.0, key, value: value.to_string(), expected })
    }
}

/// Reads `file`, if there is one, then the environment over it, into a `T`.
pub fn load<T: DeserializeOwned>(file: Option<&Path>) -> Result<T, ConfigError> {
    let mut base = Figment::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let values: Dict = Toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax { path: path.to_owned(), message: error.to_string() })?;
        base = base.merge(Serialized::defaults(values));
    }
    let env: Vec<(String, String)> =
        Env::prefixed(ENV_PREFIX).iter().map(|(key, value)| (key.into_string(), value)).collect();
    let env: Vec<(&str, &str)> = env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    extract(base, &env, file)
}

/// Extracts a `T` from `base` with `env` (names without the prefix) over it. A value of the environment that was taken
/// for a number or a truth value where text is wanted is put back as text, one at a time.
fn extract<T: DeserializeOwned>(
    base: Figment,
    env: &[(&str, &str)],
    file: Option<&Path>,
) -> Result<T, ConfigError> {
    let env: Vec<(String, &str)> =
        env.iter().map(|(name, value)| (name.to_ascii_lowercase().replace("__", "."), *value)).collect();
    let mut figment = base;
    for (key, text) in &env {
        let value: Value = match text.parse() {
            Ok(value) => value,
            Err(never) => match never {},
        };
        figment = figment.merge(Serialized::default(key, value));
    }
    // Each round settles one variable, so that one round more than there are variables always ends in an answer.
    let mut rounds = env.len();
    loop {
        let error = match figment.extract::<T>() {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let key = error.path.join(".");
        let text = env.iter().find(|(name, _)| *name == key).map(|(_, text)| *text);
        match (text, &error.kind) {
            (Some(text), Kind::InvalidType(actual, expected))
                if rounds > 0 && expected.contains("str") && is_literal(actual) =>
            {
                rounds -= 1;
                figment = figment.merge(Serialized::default(&key, text));
            }
            _ => return Err(ConfigError::Invalid(describe(&error, &figment, &env, file))),
        }
    }
}

fn is_literal(actual: &Actual) -> bool {
    matches!(actual, Actual::Bool(_) | Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_))
}

/// One line that names the key, where it was set, its value and what is expected.
fn describe(
    fault: &figment::Error,
    figment: &Figment,
    env: &[(String, &str)],
    file: Option<&Path>,
) -> String {
    let mut path = fault.path.clone();
    let named = match &fault.kind {
        Kind::UnknownField(name, _) => Some(name.as_str()),
        Kind::DuplicateField(name) => Some(*name),
        Kind::MissingField(name) => Some(name.as_ref()),
        _ => None,
    };
    if let Some(name) = named
        && path.last().map(String::as_str) != Some(name)
    {
        path.push(name.to_owned());
    }
    let key = path.join(".");
    let variable = format!("{ENV_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase());
    let origin = match file {
        _ if env.iter().any(|(name, _)| *name == key) => format!("{key} (from {variable})"),
        Some(file) if !key.is_empty() => format!("{key} (from {})", file.display()),
        _ => key.clone(),
    };
    let value = figment.find_value(&key).map(|value| show(&key, &value)).unwrap_or_default();
    match &fault.kind {
        Kind::InvalidType(_, expected)
        | Kind::InvalidValue(_, expected)
        | Kind::InvalidLength(_, expected) => {
            format!("{origin}: {value} is not valid: expected {expected}")
        }
        Kind::UnknownVariant(_, expected) => {
            format!("{origin}: {value} is not valid: expected one of {}", expected.join(", "))
        }
        Kind::UnknownField(_, []) => format!("{origin}: no such key: expected none here"),
        Kind::UnknownField(_, expected) => {
            format!("{origin}: no such key: expected one of {}", expected.join(", "))
        }
        Kind::MissingField(_) => format!("{key}: missing: expected in the file or as {variable}"),
        other => format!("{origin}: {value} is not valid: {other}"),
    }
}

/// A value as JSON; what may be a secret is not repeated.
fn show(key: &str, value: &Value) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    if ["key", "password", "secret", "token", "url"].iter().any(|word| name.contains(word)) {
        return "the value given".to_owned();
    }
    serde_json::to_string(value).unwrap_or_else(|_| "the value given".to_owned())
}

#[cfg(test)]
mod tests;
