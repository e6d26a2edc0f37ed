//! Guardrails in force: what may go in, what may come out, what may be called.

mod cascades;
pub mod policy;
mod refusals;
mod streams;
mod whole;
