//! The admin API at its HTTP boundary.
