//! The seed and both importers.

mod seed;
