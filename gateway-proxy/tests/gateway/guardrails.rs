//! Guardrails in force: what may go in, what may come out, what may be called.

mod cascades;
mod policy;
mod refusals;
mod streams;
mod whole;
