//! The command line's administration, from outside.

#[cfg(test)]
mod commands;
