//! Budgets: an amount is reserved before a call and settled after it, so that concurrent calls never overshoot a limit.
