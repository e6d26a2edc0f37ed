//! Answers that were given before: the same request again, or one that means the same.
