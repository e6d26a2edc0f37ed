//! The seed, golden invoices over it, and both importers.

mod import;
mod invoices;
mod merge;
mod seed;
