//! Whether a streamed answer is held back, while nobody knows yet whether it will be accepted.

use contracts::policy::cascade::Streaming;
use std::time::Duration;

/// What an optimistic stream may take before it is released undecided: bytes, and time since its first.
const UNDECIDED_BYTES: usize = 256 << 10;
const UNDECIDED: Duration = Duration::from_secs(30);

/// What to do with what has come of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Keep it until there is more, or until it is whole and judged.
    Hold,
    /// Send it and what follows: it stays the answer, whatever later checks say.
    Release,
    /// Break it off and ask the next tier, where one may be asked.
    GiveUp,
}

/// What has come of a streamed answer so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held<'a> {
    /// Bytes that are held.
    pub bytes: usize,
    /// How long the first of them has been held.
    pub time: Duration,
    /// Chunks with content: tokens, about, where the upstream gives no log-probabilities.
    pub chunks: usize,
    /// Natural logarithms of the tokens' probabilities so far.
    pub logprobs: &'a [f32],
}

/// How long a stream may be held at most.
pub fn longest(streaming: &Streaming) -> Duration {
    match *streaming {
        Streaming::Buffered { max_ms, .. } => Duration::from_millis(max_ms.into()),
        Streaming::Optimistic { .. } => UNDECIDED,
    }
}

/// Decides over a stream that has not ended.
pub fn hold(streaming: &Streaming, held: &Held<'_>) -> Hold {
    match *streaming {
        Streaming::Buffered { max_bytes, max_ms } => {
            let is_full =
                held.bytes >= max_bytes as usize || held.time >= Duration::from_millis(max_ms.into());
            if is_full { Hold::Release } else { Hold::Hold }
        }
        Streaming::Optimistic { tokens, min_logprob } => {
            let tokens = tokens as usize;
            if held.logprobs.len() >= tokens {
                let sum: f64 = held.logprobs[..tokens].iter().map(|value| f64::from(*value)).sum();
                return if sum >= min_logprob * f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)) {
                    Hold::Release
                } else {
                    Hold::GiveUp
                };
            }
            // An upstream without log-probabilities must not hold a stream for ever, nor one that gives few.
            let is_blind = held.chunks >= tokens && held.logprobs.is_empty();
            let is_full = held.bytes >= UNDECIDED_BYTES || held.time >= UNDECIDED;
            if is_blind || is_full { Hold::Release } else { Hold::Hold }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffered_stream_is_released_at_either_bound() {
        let policy = Streaming::Buffered { max_bytes: 100, max_ms: 2_000 };
        let at = |bytes, millis| {
            hold(&policy, &Held { bytes, time: Duration::from_millis(millis), ..Held::default() })
        };
        assert_eq!(at(99, 1_999), Hold::Hold);
        assert_eq!(at(100, 0), Hold::Release);
        assert_eq!(at(0, 2_000), Hold::Release);
    }

    #[test]
    fn an_optimistic_stream_is_decided_by_its_first_tokens() {
        let policy = Streaming::Optimistic { tokens: 3, min_logprob: -0.5 };
        let with = |chunks, logprobs: &[f32]| hold(&policy, &Held { chunks, logprobs, ..Held::default() });
        assert_eq!(with(2, &[-0.1, -0.1]), Hold::Hold);
        assert_eq!(with(3, &[-0.1, -0.1, -0.1]), Hold::Release);
        assert_eq!(with(3, &[-0.1, -2.0, -0.1]), Hold::GiveUp);
        assert_eq!(with(9, &[-0.1, -0.1, -0.1, -9.0]), Hold::Release, "only the first tokens count");
        assert_eq!(with(3, &[]), Hold::Release);
        let late = Held { chunks: 2, logprobs: &[-0.1], time: UNDECIDED, ..Held::default() };
        assert_eq!(hold(&policy, &late), Hold::Release);
        let long = Held { chunks: 2, logprobs: &[-0.1], bytes: UNDECIDED_BYTES, ..Held::default() };
        assert_eq!(hold(&policy, &long), Hold::Release);
    }
}
