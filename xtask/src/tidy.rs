//! The house rules that a compiler cannot see: who may depend on whom, where SQL lives, how long a file may be.
//!
//! Each rule is a function from the house to its violations; `docs/ARCHITECTURE.md` says why it exists.

mod house;
mod rules;

use crate::sh;
use anyhow::{Result, bail};

/// Checks every rule; an error lists all violations.
pub fn run() -> Result<()> {
    let house = house::House::open(&sh::root())?;
    let mut violations = rules::check(&house);
    violations.extend(rules::wasm_reach(&house::wasm_dependencies()?));
    violations.sort();
    if violations.is_empty() {
        eprintln!("tidy: {} files, {} packages, no violation", house.files.len(), house.packages.len());
        return Ok(());
    }
    bail!("tidy: {} violations\n  {}", violations.len(), violations.join("\n  "))
}
