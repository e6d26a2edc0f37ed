//! The pages, one a file.

pub(crate) mod call;
pub(crate) mod calls;
pub(crate) mod keys;
pub(crate) mod missing;
pub(crate) mod models;
pub(crate) mod overview;
pub(crate) mod sign_in;
