//! The OpenAI-compatible proxy: it admits a call, forwards it byte for byte, meters and prices the answer, and leaves a trace
//! of it in the spool before the client has the last byte.
//!
//! A request's way is `stack` (every layer, in order), `intake`, `prompting` and `request` (the body), `guarding` (guardrails), `govern` (plans and budgets), `caching` (answers given before), `forward`, `cascading`, `tries` and
//! `pools` (which model, which deployment), `attempt`, `translation` and `upstream` (one try), `relay` and `sse` (the answer), `meter` (what it used) and `emit` (its price, its spans, the spool and the way
//! to the collector). `call` holds what is known of a call and sees to it that every one is recorded, also when its client
//! leaves. `outcomes` takes what clients say of answers afterwards, `resume` keeps the streams that they may come back to. `errors` is the table of everything that can go wrong.
//!
//! Nothing on this way waits for a database or the collector.

mod address;
mod app;
mod attempt;
mod auth;
mod caching;
mod call;
mod cascading;
mod config;
mod counting;
mod emit;
mod endpoints;
mod errors;
mod experimenting;
mod forward;
mod gather;
mod govern;
mod guarding;
mod hedging;
mod identity;
mod intake;
mod live;
mod meaning;
mod meter;
mod metrics;
mod outcomes;
mod policy;
mod pools;
mod prompting;
mod relay;
mod request;
mod respond;
mod resume;
mod server;
mod sse;
mod stack;
mod translation;
mod tries;
mod trying;
mod upstream;
mod used;

pub use config::{
    Config, Limits, OutcomesConfig, ResumeConfig, SpoolConfig, Timeouts, Unknown, UpstreamConfig, WhenFull,
    WhenGatewayDies,
};
pub use server::{Server, run};
