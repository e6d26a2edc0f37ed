//! Routes over several models: which answer is good enough.
