//! Rules on what goes to a model and what comes back from it.
//!
//! A [`Guard`] is a guardrail compiled once, when it comes into force. What a user says is judged by [`Guard::input`], a finished
//! answer by [`Guard::output`], a streamed one by a [`StreamGuard`], which releases text only once it can no longer become part of a
//! match. Each yields a [`Verdict`]: what was breached and where, the text with what must be masked, and the severest decision.
//!
//! The order of work, in which [`Redactor`] has its place:
//!
//! 1. input: redact, then the rules, which therefore see what the model will see;
//! 2. the model;
//! 3. output: the rules, on what the model said, then restore what was redacted.
//!
//! Several guardrails run one after another, each on what the one before let through.
//!
//! All patterns take time linear in the text. A verdict holds no text of a match, so it may be stored where content is not.

mod alive;
mod check;
mod compiled;
mod redactor;
mod refusal;
mod schema;
mod spans;
mod stream;
mod tools;
mod verdict;

pub use compiled::Guard;
pub use redactor::Redactor;
pub use stream::StreamGuard;
pub use tools::ToolCall;
pub use verdict::{Breach, Decision, Place, Verdict};
