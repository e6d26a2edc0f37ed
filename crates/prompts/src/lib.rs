//! Prompt templates with versions and labels, and the experiments that compare them.
