//! What a policy must stand beside its own checks before it is written: templates, patterns and schemas that compile. And what gateways make
//! of one that was written, for whoever asks.
//!
//! Compilers live in crates of a call's way, which this one does not know. Whoever lets people write policy hands them in
//! ([`crate::Control::compiling`]); documents and prompts go through them on every way in.

use contracts::policy::experiment::Measured;
use contracts::policy::{InvalidPolicy, spec};

/// Tries out what a gateway will compile. The error names the field, as [`contracts::policy::Document`]'s own checks do.
#[derive(Debug, Clone, Copy)]
pub struct Compilers {
    /// The templates of a prompt and the schema of its variables.
    pub prompt: fn(&spec::Prompt) -> Result<(), InvalidPolicy>,
    /// The patterns and schemas of a guardrail.
    pub guardrail: fn(&spec::Guardrail) -> Result<(), InvalidPolicy>,
    /// The weights that gateways deal the arms of an experiment by, under the name by which it is dealt, given what was measured; absent while
    /// those hold that it was written with.
    pub weights: fn(&str, &spec::Experiment, &Measured) -> Option<Vec<f64>>,
}

impl Compilers {
    /// Takes everything and makes nothing of it: for what neither writes policy of people's nor tells of it.
    pub const NONE: Self = Self { prompt: |_| Ok(()), guardrail: |_| Ok(()), weights: |_, _, _| None };
}
