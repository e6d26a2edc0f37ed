//! How much of a streamed answer is kept. An upstream may send without end, and gigabytes of it in the half hour that a call may
//! last; nobody needs more than its beginning, and how long it was.

/// Most bytes of text that are kept of an answer: as many as are counted, and more than are recorded.
const MOST: usize = 1 << 20;
/// Most reasons to finish: more than an answer has choices.
const MOST_REASONS: usize = 256;

/// What was kept of an answer so far, and what not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kept {
    bytes: usize,
    /// Bytes of text that came and were not kept.
    pub(crate) beyond: usize,
}

impl Kept {
    /// Adds text to what is kept of it, as far as there is room.
    pub(crate) fn push(&mut self, into: &mut String, text: &str) {
        let room = MOST - self.bytes;
        let kept = if text.len() <= room { text } else { &text[..text.floor_char_boundary(room)] };
        into.push_str(kept);
        self.bytes += kept.len();
        self.beyond = self.beyond.saturating_add(text.len() - kept.len());
    }

    /// Bytes of text that came.
    pub(crate) const fn came(&self) -> usize {
        self.bytes.saturating_add(self.beyond)
    }

    /// A count of `tokens` in what was kept, in proportion to what came.
    pub(crate) fn in_proportion(&self, tokens: u64) -> u64 {
        if self.beyond == 0 || self.bytes == 0 {
            return tokens;
        }
        let scaled = u128::from(tokens) * self.came() as u128 / self.bytes as u128;
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

/// Adds a reason to finish, unless there are absurdly many. Some servers have an empty one where others have none.
pub(crate) fn finish(reasons: &mut Vec<String>, reason: Option<super::Text<'_>>) {
    if reasons.len() < MOST_REASONS {
        reasons.extend(reason.map(|reason| reason.0.into_owned()).filter(|reason| !reason.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_kept_and_the_rest_is_measured() {
        let (mut kept, mut text) = (Kept::default(), String::new());
        let piece = "\u{e9}".repeat(300_001);
        for _ in 0..4 {
            kept.push(&mut text, &piece);
        }
        assert!(text.len() <= MOST && text.len() > MOST - 2, "{}", text.len());
        assert_eq!((kept.came(), kept.beyond), (4 * piece.len(), 4 * piece.len() - text.len()));
        let tokens = kept.in_proportion(1_000);
        assert!((2_288..=2_290).contains(&tokens), "{tokens}");
        assert_eq!(Kept::default().in_proportion(7), 7);
    }

    #[test]
    fn reasons_do_not_grow_without_end() {
        let mut reasons = Vec::new();
        for _ in 0..10_000 {
            finish(&mut reasons, Some(super::super::Text("stop".into())));
        }
        assert_eq!(reasons.len(), MOST_REASONS);
    }
}
