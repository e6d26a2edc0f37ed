//! What waits before a pool, how long, and who goes first.
