//! Prompt templates, their versions and labels.
