//! A timer for waits that nearly always end early.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

/// Set anew for every wait on a connection, it is moved only when it goes off too early, or would go off too late: a wait that ends
/// in time, as all but few do, leaves the runtime's timers alone.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Ready from `at` on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let Self(sleep) = self;
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            let has_gone_off = sleep.as_mut().poll(cx).is_ready();
            // A task that has used up its turn hears of no timer: it would never end a wait in which something always happens.
            if !has_gone_off && coop::has_budget_remaining() {
                return Poll::Pending;
            }
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            if !has_gone_off {
                return Poll::Pending;
            }
            sleep.as_mut().reset(at);
        }
    }

    /// Wakes nobody any more, until it is polled again.
    pub(super) fn forget(&mut self) {
        let _gone_off = self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test]
    async fn it_goes_off_when_it_was_set_to_last() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut alarm = Alarm::new();
        // First an earlier time than the one that counts, then later ones, which it must not wait for.
        for (set, then) in [(20, 60), (10_000, 90), (20_000, 120)] {
            poll_fn(|cx| Poll::Ready(alarm.poll(cx, at(set)).is_ready())).await;
            poll_fn(|cx| alarm.poll(cx, at(then))).await;
            assert!(Instant::now() >= at(then), "it went off too early");
            assert!(start.elapsed() < Duration::from_secs(9), "it went off as it was set at first");
        }
    }

    #[tokio::test]
    async fn a_task_that_has_used_up_its_turn_hears_of_it_too() {
        let past = Instant::now();
        let mut alarm = Alarm::new();
        poll_fn(|cx| {
            while let Poll::Ready(turn) = coop::poll_proceed(cx) {
                turn.made_progress();
            }
            assert!(alarm.poll(cx, past).is_ready());
            assert!(alarm.poll(cx, past + Duration::from_mins(1)).is_pending());
            Poll::Ready(())
        })
        .await;
    }
}
