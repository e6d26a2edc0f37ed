//! What an answer used: read from the answer, or estimated when it does not say.

mod answer;
mod estimate;
mod kept;
mod usage;

pub(crate) use answer::{Answer, Logprobs, Text};
pub(crate) use estimate::{Estimator, Prompt};
pub(crate) use kept::{Kept, finish};
pub(crate) use usage::{tier, usage};
