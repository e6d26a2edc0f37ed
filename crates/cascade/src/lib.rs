//! Checks of answers, and the fitted thresholds that decide whether a dearer model is asked.
//!
//! Pure functions, bounded in what they read; asking models and verifiers is the gateway's. For a request: [`RequestView::new`] and
//! [`next_tier`] say whom to ask first; for each answer [`reject`], [`RequestView::examine`] and [`decide`] say what becomes of it.
//! [`fit`] learns weights and thresholds from recorded answers and plays them through the same functions.

mod agreement;
mod decide;
mod facts;
pub mod fit;
mod inline;
mod reject;
mod schema;
mod signals;
mod stream;
mod words;

pub use agreement::{Alike, must_be_same, self_consistency};
pub use decide::{
    Decision, Purse, Reason, Verdict, acceptable, decide, is_examined, next_tier, probability, weighs_request,
};
pub use facts::{Answer, Request, Tool, ToolCall};
pub use inline::{Inline, inline_context};
pub use reject::{Rejection, reject};
pub use schema::{Fault, Patterns, faults, is_plain};
pub use signals::{Instruments, RequestView, Signals, meaning_agreement, meanings};
pub use stream::{Held, Hold, hold, longest};
