//! The section `[evaluator.judges]`.

use crate::config::{InvalidConfig, check};
use serde::{Deserialize, Serialize};

/// The judges that work without being configured further.
pub const BUILT_IN: &[&str] = &[];

/// Which judges there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgesConfig {
    /// Built-in judges that look at every call.
    pub enabled: Vec<String>,
}

impl Default for JudgesConfig {
    fn default() -> Self {
        Self { enabled: BUILT_IN.iter().map(|name| (*name).to_owned()).collect() }
    }
}

impl JudgesConfig {
    /// Checks what types cannot say.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        for name in &self.enabled {
            check(BUILT_IN.contains(&name.as_str()), "judges.enabled", name, "names of built-in judges")?;
        }
        Ok(())
    }
}
