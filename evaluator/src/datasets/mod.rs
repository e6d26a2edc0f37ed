//! Truth sets: immutable versions, hashed by content, from files or from production calls.
