//! The seed, golden invoices over it, and both importers.

mod invoices;
mod seed;
