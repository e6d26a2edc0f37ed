//! The place of redaction in the order of work.

use std::borrow::Cow;

/// Takes personal data out of what goes to a model, and puts it back into what comes out of it. One per call, as it remembers what
/// stands for what.
///
/// [`crate::Guard::input`] redacts before its rules, and [`crate::Guard::output`] restores after them, so that rules see what the
/// model sees. A stream is restored by whoever holds the redactor, on what a [`crate::StreamGuard`] releases: only the redactor knows
/// how long its placeholders are.
pub trait Redactor {
    /// `text` with placeholders for personal data.
    fn redact<'t>(&mut self, text: &'t str) -> Cow<'t, str>;

    /// `text` with personal data in the place of placeholders.
    fn restore<'t>(&self, text: &'t str) -> Cow<'t, str>;
}
