//! Who may call, how often and in what order: rate plans, and a fair queue before each pool of models.

pub mod queue;
