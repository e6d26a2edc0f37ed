//! Parts of a text that are replaced.
//!
//! Matches of all patterns are found in the original text, so no rule sees another's mask, and the order of rules decides only
//! between matches that begin at the same place. Matches that overlap become one part, replaced once, by the mask of the first.

/// A match: of which rule, from where to where in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) rule: usize,
    pub(crate) end: usize,
}

/// Copies text and masks what is in spans. Spans come in order, over any number of calls.
pub(crate) struct Masker<'m, F> {
    /// What stands for a match of the rule of this number.
    pub(crate) mask: F,
    /// Up to where the text is copied or masked.
    pub(crate) done: &'m mut usize,
    pub(crate) out: &'m mut String,
}

impl<'t, F: Fn(usize) -> &'t str> Masker<'_, F> {
    /// Copies what is before the span, and puts the mask in its place.
    pub(crate) fn mask(&mut self, text: &str, span: Span) {
        if span.start >= *self.done {
            self.copy(text, span.start);
            self.out.push_str((self.mask)(span.rule));
        }
        *self.done = span.end.max(*self.done);
    }

    /// Copies what is before `end`.
    pub(crate) fn copy(&mut self, text: &str, end: usize) {
        if end > *self.done {
            self.out.push_str(&text[*self.done..end]);
            *self.done = end;
        }
    }
}
