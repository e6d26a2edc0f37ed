//! Routes with arms that are compared.
