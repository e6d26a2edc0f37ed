//! What clients are told of their limits: the `x-ratelimit-*` headers of the OpenAI API.

use super::Refusal;
use std::time::Duration;

/// Where a call's subjects stand: of all their limits the tightest, that is the one with the least remaining.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// In requests, if they are limited.
    pub requests: Option<Window>,
    /// In tokens, if they are limited.
    pub tokens: Option<Window>,
}

/// One limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its size.
    pub limit: u64,
    /// What may be used at once.
    pub remaining: u64,
    /// When all of it may be used at once, if nothing is until then.
    pub reset: Duration,
}

impl Standing {
    /// The tighter of each.
    pub(super) fn tighter(&self, other: &Self) -> Self {
        Self { requests: tighter(self.requests, other.requests), tokens: tighter(self.tokens, other.tokens) }
    }

    /// The headers, with values such as `59`, `1s`, `6m0s` and `17ms`.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let Self { requests, tokens } = *self;
        [
            requests.map(|window| ("x-ratelimit-limit-requests", window.limit.to_string())),
            tokens.map(|window| ("x-ratelimit-limit-tokens", window.limit.to_string())),
            requests.map(|window| ("x-ratelimit-remaining-requests", window.remaining.to_string())),
            tokens.map(|window| ("x-ratelimit-remaining-tokens", window.remaining.to_string())),
            requests.map(|window| ("x-ratelimit-reset-requests", duration(window.reset))),
            tokens.map(|window| ("x-ratelimit-reset-tokens", duration(window.reset))),
        ]
        .into_iter()
        .flatten()
    }
}

impl Refusal {
    /// The headers of a refusal: where the subjects stand, and when to come back.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        self.standing.headers().chain(self.retry_after.into_iter().flat_map(retry_after))
    }
}

/// `retry-after` in whole seconds and `retry-after-ms`, which OpenAI's clients prefer; rounded up, so that who keeps to them is not
/// early.
pub fn retry_after(wait: Duration) -> [(&'static str, String); 2] {
    let ms = wait.as_nanos().div_ceil(1_000_000);
    [("retry-after", ms.div_ceil(1_000).to_string()), ("retry-after-ms", ms.to_string())]
}

fn tighter(one: Option<Window>, other: Option<Window>) -> Option<Window> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let is_tighter = (other.remaining, std::cmp::Reverse(other.reset))
                < (one.remaining, std::cmp::Reverse(one.reset));
            Some(if is_tighter { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

/// As OpenAI writes durations, which is as Go does: `0s`, `17ms`, `1.5s`, `6m0s`, `1h0m0s`. In milliseconds, rounded up.
fn duration(duration: Duration) -> String {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    if (1..1_000).contains(&ms) {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let seconds = format!("{}.{:03}", ms / 1_000 % 60, ms % 1_000);
    // Zeros behind the point, and then the point.
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_by_openai() {
        for (ms, text) in [
            (0, "0s"),
            (17, "17ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (8_640, "8.64s"),
            (10_000, "10s"),
            (60_000, "1m0s"),
            (86_400, "1m26.4s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (86_400_000, "24h0m0s"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(duration(Duration::from_nanos(1)), "1ms");
        assert_eq!(duration(Duration::from_micros(999_001)), "1s");
    }

    #[test]
    fn who_keeps_to_retry_after_is_not_early() {
        let told = |nanos| retry_after(Duration::from_nanos(nanos)).map(|(_, value)| value);
        assert_eq!(told(1), ["1", "1"]);
        assert_eq!(told(1_000_000_000), ["1", "1000"]);
        assert_eq!(told(1_000_000_001), ["2", "1001"]);
    }
}
