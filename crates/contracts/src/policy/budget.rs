//! Budgets: how much may be spent, by whom, in what time.
