//! What calls were good for: feedback and actions joined to every cost that served them.
//!
//! The console answers with the same figures, and neither of the two may know the other: so the types are `contracts::outcomes`, the
//! arithmetic is `warehouse::outcomes`, with the bootstrap of [`crate::stats`], and this is where evaluators find both.

pub use contracts::outcomes::{Attribution, Costs, DollarInterval, GpuPool, OutcomeGroup, OutcomeReport};
pub use warehouse::outcomes::{Figures, ratio_interval};
