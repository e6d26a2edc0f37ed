//! The tower as its users meet it: the real binary, the real engine, the real protocols. Each test starts a tower of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures and logs of a run are shown with it")]

mod bad_input;
mod budgets;
mod caches;
mod caller;
mod cascade;
mod console;
mod durability;
mod eval;
mod evaluator;
mod fairness;
mod health;
mod http;
mod judges;
mod lifecycle;
mod load;
mod money;
mod outcomes;
mod outside;
// The control database's own tests start it in the same way.
#[path = "../../../control/tests/database/support/postgres.rs"]
mod postgres;
// The budget ledger's own tests kill and restart it in the same way.
#[path = "../../../budget/src/tests/redis.rs"]
mod redis;
mod resilience;
mod sdk;
mod spine;
mod stand;
mod top;
mod tower;
