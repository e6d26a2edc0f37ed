//! Rate plans: how often and how much a tenant or a key may call.
