//! `control-tower check`: is this configuration valid?

use crate::cli::CheckArgs;
use crate::config::TowerConfig;
use crate::output;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Checks `args.file`, or else what a role would be started with.
pub(crate) fn run(args: &CheckArgs, file: Option<&Path>) -> ExitCode {
    let file = args.file.as_deref().or(file);
    let problems = match runtime::config::load::<TowerConfig>(file) {
        Ok(config) => config.problems(),
        Err(error) => vec![error.to_string()],
    };
    let name =
        file.map_or_else(|| "the defaults and the environment".to_owned(), |f| f.display().to_string());
    if args.json {
        output::say(&json!({"file": file, "valid": problems.is_empty(), "problems": problems}).to_string());
    } else if problems.is_empty() {
        output::say(&format!("{name}: valid"));
    } else {
        for problem in &problems {
            output::say(problem);
        }
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
