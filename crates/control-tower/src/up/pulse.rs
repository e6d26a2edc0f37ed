//! Telling a role that hangs from one that is busy, starting or draining.
//!
//! A role is asked for its `/healthz` every second. It hangs when it takes connections but gives no answer, again and again.
//! One whose port is closed may be draining after a stop that somebody else asked it for: that ends by itself, or is ended
//! later.

use crate::probe::Probe;
use http::StatusCode;
use runtime::Silence;
use std::time::{Duration, Instant};

/// Pause between questions until the first answer, after which silence means something.
const STARTING: Duration = Duration::from_millis(100);
/// Pause between questions from then on.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// This many questions in a row without an answer, …
const UNANSWERED: u32 = 4;
/// … over at least this time, mean that a role hangs.
const SILENT: Duration = Duration::from_secs(10);
/// How long a role may take until its first answer.
const START: Duration = Duration::from_mins(3);

/// Returns what is wrong once the role of this `/healthz` hangs. `drain` is how long it may take to stop.
pub(super) async fn until_it_hangs(probe: &Probe, health_url: &str, drain: Duration) -> String {
    let mut pulse = Pulse::new(Instant::now(), drain);
    loop {
        let answer = probe.get(health_url, PATIENCE).await;
        if let Some(complaint) = pulse.note(answer.map(|(status, _)| status), Instant::now()) {
            return complaint;
        }
        tokio::time::sleep(if pulse.answered { EVERY } else { STARTING }).await;
    }
}

/// What is known of a role's answers.
#[derive(Debug)]
struct Pulse {
    /// Of the last answer, or of the start.
    last: Instant,
    answered: bool,
    unanswered: u32,
    drain: Duration,
}

impl Pulse {
    fn new(now: Instant, drain: Duration) -> Self {
        Self { last: now, answered: false, unanswered: 0, drain }
    }

    /// Takes up an answer; says what is wrong when it is time to give up.
    fn note(&mut self, answer: Result<StatusCode, Silence>, now: Instant) -> Option<String> {
        let (allowed, reason) = match answer {
            Ok(StatusCode::OK) => {
                (self.last, self.answered, self.unanswered) = (now, true, 0);
                return None;
            }
            _ if !self.answered => (START, "no answer since its start".to_owned()),
            Err(Silence::Nobody) => (SILENT + self.drain, Silence::Nobody.to_string()),
            Err(silence) => (SILENT, silence.to_string()),
            Ok(status) => (SILENT, status.to_string()),
        };
        self.unanswered += 1;
        let silent = now.saturating_duration_since(self.last);
        (self.unanswered >= UNANSWERED && silent >= allowed)
            .then(|| format!("/healthz: {reason}, {} times in {} s", self.unanswered, silent.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    /// Seconds after the start at which a role is given up that answers thus at each of these seconds; the last answer is
    /// repeated.
    fn given_up(answers: impl Fn(u64) -> Result<StatusCode, Silence>, step: u64) -> Option<u64> {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, DRAIN);
        (0..600)
            .step_by(usize::try_from(step).unwrap())
            .find(|second| pulse.note(answers(*second), start + Duration::from_secs(*second)).is_some())
    }

    fn mute() -> Result<StatusCode, Silence> {
        Err(Silence::Mute(PATIENCE))
    }

    #[test]
    fn a_role_that_answers_is_left_alone_and_so_is_one_that_is_slow_now_and_then() {
        assert_eq!(given_up(|_| Ok(StatusCode::OK), 1), None);
        assert_eq!(given_up(|second| if second % 9 == 0 { Ok(StatusCode::OK) } else { mute() }, 1), None);
    }

    #[test]
    fn a_mute_role_is_given_up_after_ten_seconds_and_a_closed_port_after_its_drain() {
        let after_60 = |then: fn() -> Result<StatusCode, Silence>| {
            move |second| if second <= 60 { Ok(StatusCode::OK) } else { then() }
        };
        assert_eq!(given_up(after_60(mute), 1), Some(70));
        assert_eq!(given_up(after_60(|| Ok(StatusCode::INTERNAL_SERVER_ERROR)), 1), Some(70));
        assert_eq!(given_up(after_60(|| Err(Silence::Nobody)), 1), Some(100));
    }

    #[test]
    fn a_start_may_take_long_but_not_for_ever() {
        assert_eq!(given_up(|_| Err(Silence::Nobody), 1), Some(180));
        assert_eq!(given_up(|second| if second < 170 { mute() } else { Ok(StatusCode::OK) }, 1), None);
    }

    #[test]
    fn one_late_question_is_no_verdict() {
        // We ourselves may have been stopped for a while.
        assert_eq!(given_up(|second| if second == 100 { mute() } else { Ok(StatusCode::OK) }, 50), None);
    }
}
