//! What compiles prompts and guardrails when they are written, by the admin API and by the CLI: the code that the gateway runs them
//! with, so that what cannot be compiled is refused then and not when a call comes. And what deals the arms of experiments, so that both say
//! what the gateway does.

use control::Compilers;
use guard::Guard;
use prompts::Compiled;

/// As the gateway compiles them.
pub(crate) const COMPILERS: Compilers = Compilers {
    prompt: |prompt| Compiled::new(prompt).map(drop),
    guardrail: |guardrail| Guard::new(guardrail).map(drop),
    weights: prompts::shares,
};
