//! Checks of answers, and the fitted thresholds that decide whether a dearer model is asked.

mod agreement;
mod decide;
mod facts;
pub mod fit;
mod reject;
mod signals;
mod words;

pub use agreement::self_consistency;
pub use decide::{Decision, Purse, Reason, Verdict, acceptable, decide, next_tier, probability};
pub use facts::{Answer, Request, Tool, ToolCall};
pub use reject::{Rejection, reject};
pub use signals::{RequestView, Signals, meaning_agreement};
