//! What the command line says to people and scripts. Logs go elsewhere (`runtime::telemetry`).

use std::io::Write;

/// Writes a line to standard output. A reader that left is no reason to fail.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub(crate) fn fail(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
