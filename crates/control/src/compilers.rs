//! What a policy must stand beside its own checks before it is written: templates, patterns and schemas that compile.
//!
//! Compilers live in crates of a call's way, which this one does not know. Whoever lets people write policy hands them in
//! ([`crate::Control::compiling`]); documents and prompts go through them on every way in.

use contracts::policy::{InvalidPolicy, spec};

/// Tries out what a gateway will compile. The error names the field, as [`contracts::policy::Document`]'s own checks do.
#[derive(Debug, Clone, Copy)]
pub struct Compilers {
    /// The templates of a prompt and the schema of its variables.
    pub prompt: fn(&spec::Prompt) -> Result<(), InvalidPolicy>,
    /// The patterns and schemas of a guardrail.
    pub guardrail: fn(&spec::Guardrail) -> Result<(), InvalidPolicy>,
}

impl Compilers {
    /// Takes everything: for what writes no policy of people's.
    pub const NONE: Self = Self { prompt: |_| Ok(()), guardrail: |_| Ok(()) };
}
