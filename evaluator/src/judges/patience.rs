//! A verdict whatever happens: a judge that failed for the moment is asked again, and one that never answers says so.

use super::{ERROR, Judge, JudgeError, Subject, ask};
use contracts::{Usd, Verdict};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// How often a judge that failed for the moment is asked in all.
const TRIES: u32 = 3;
/// Between the first try and the second.
const PAUSE: Duration = Duration::from_millis(250);

/// The verdict of a judge, who may be asked several times; what failed tries cost is in it, or in the error.
async fn patiently(judge: &dyn Judge, subject: &Subject) -> Result<Verdict, JudgeError> {
    let mut tries = 1;
    let mut paid = Usd::ZERO;
    loop {
        match ask(judge, subject).await {
            Ok(verdict) => return Ok(Verdict { cost: paid + verdict.cost, ..verdict }),
            Err(error) if error.is_retryable() && tries < TRIES => {
                paid += error.cost();
                tokio::time::sleep(PAUSE * tries).await;
                tries += 1;
            }
            Err(error) => return Err(error.after_paying(paid)),
        }
    }
}

/// A verdict in any case, as [`attempt`] reaches it.
pub(crate) async fn apart(judge: Arc<dyn Judge>, subject: Arc<Subject>) -> Verdict {
    let reached = attempt(judge.clone(), subject.clone()).await;
    reached.unwrap_or_else(|error| failed(judge.as_ref(), &subject, &error))
}

/// A verdict, or why there is none, in a task of its own: off the threads that wait for others where the judge only computes, and without harm
/// to anybody else where it panics. Dropped, it is given up.
pub(crate) async fn attempt(judge: Arc<dyn Judge>, subject: Arc<Subject>) -> Result<Verdict, JudgeError> {
    let (asked, about) = (judge.clone(), subject.clone());
    let task = if judge.is_remote() {
        tokio::spawn(async move { patiently(asked.as_ref(), &about).await })
    } else {
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || Ok(compute(&handle, asked.as_ref(), &about)))
    };
    AbortOnDropHandle::new(task).await.unwrap_or_else(|_| Err(broken(judge.as_ref())))
}

/// The verdict of a judge that computes, on this thread, which must be one that may block.
pub(crate) fn compute(handle: &Handle, judge: &dyn Judge, subject: &Subject) -> Verdict {
    // A judge's state does not outlive the call that it panicked on: all are immutable, but for counters.
    let computed = catch_unwind(AssertUnwindSafe(|| handle.block_on(ask(judge, subject))));
    match computed {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => failed(judge, subject, &error),
        Err(_) => failed(judge, subject, &broken(judge)),
    }
}

fn broken(judge: &dyn Judge) -> JudgeError {
    let reason = "it did not come to an end".to_owned();
    JudgeError::Failed { judge: judge.name().to_owned(), reason, retryable: false }
}

/// The verdict of a judge that reached none. Its call is not asked about for ever.
pub(crate) fn failed(judge: &dyn Judge, subject: &Subject, error: &JudgeError) -> Verdict {
    let verdict = subject.verdict(judge, None, ERROR);
    Verdict { explanation: error.to_string(), cost: error.cost(), ..verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judges::Judging;
    use contracts::{SubjectRef, Timestamp};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails, for a cent each time, until its last try; panics where the answer says so.
    #[derive(Debug)]
    struct Moody {
        tries: AtomicU32,
        remote: bool,
        good: u32,
    }

    impl Judge for Moody {
        fn name(&self) -> &'static str {
            "moody"
        }

        fn version(&self) -> &'static str {
            "1"
        }

        fn judge<'a>(&'a self, subject: &'a Subject) -> Judging<'a> {
            assert_ne!(subject.answer, "panic", "as it was told");
            let cent: Usd = "0.01".parse().unwrap();
            let verdict = Verdict { cost: cent, ..subject.verdict(self, Some(1.0), "pass") };
            let error = JudgeError::Failed { judge: "moody".into(), reason: "moody".into(), retryable: true };
            let tries = self.tries.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(
                async move { if tries < self.good { Err(error.after_paying(cent)) } else { Ok(verdict) } },
            )
        }

        fn is_remote(&self) -> bool {
            self.remote
        }
    }

    fn subject(answer: &str) -> Subject {
        let reference = SubjectRef {
            tenant: "acme".parse().unwrap(),
            trace_id: String::new(),
            span_id: String::new(),
            response_id: String::new(),
        };
        Subject { answer: answer.to_owned(), ..Subject::new(reference, Timestamp::default()) }
    }

    async fn by(remote: bool, good: u32, answer: &str) -> Verdict {
        let judge = Moody { tries: AtomicU32::new(0), remote, good };
        apart(Arc::new(judge), Arc::new(subject(answer))).await
    }

    #[tokio::test]
    async fn what_failed_tries_cost_is_in_the_verdict() {
        let verdict = by(true, 3, "").await;
        assert_eq!((verdict.label.as_str(), verdict.cost), ("pass", "0.03".parse().unwrap()));
        let verdict = by(true, 4, "").await;
        assert_eq!((verdict.label.as_str(), verdict.cost), (ERROR, "0.03".parse().unwrap()));
        assert!(verdict.explanation.contains("moody"), "{}", verdict.explanation);
    }

    #[tokio::test]
    async fn what_is_left_of_a_call_that_was_cut_is_not_judged() {
        for remote in [true, false] {
            let subject = Subject { cut: true, answer: "[{\"role\": \"assist".to_owned(), ..subject("") };
            let judge = Moody { tries: AtomicU32::new(0), remote, good: 1 };
            let verdict = apart(Arc::new(judge), Arc::new(subject)).await;
            assert_eq!((verdict.label.as_str(), verdict.score), (crate::judges::NOT_APPLICABLE, None));
            assert_eq!(verdict.cost, Usd::ZERO, "and nobody was asked");
        }
    }

    #[tokio::test]
    async fn a_judge_that_panics_has_failed_on_that_call() {
        for remote in [true, false] {
            let verdict = by(remote, 1, "panic").await;
            assert_eq!((verdict.label.as_str(), verdict.score), (ERROR, None), "remote: {remote}");
            assert_eq!(by(remote, 1, "fine").await.label, "pass");
        }
    }
}
