//! Asking the judges: those that compute here, those that ask somebody else, and those whom nobody answers.

use crate::judges::{Judge, JudgeError, Subject, patience, versioned};
use anyhow::Context;
use contracts::Verdict;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Verdicts of remote judges that a worker waits for at a time.
const REMOTE_AT_A_TIME: usize = 8;

/// A judge that is not asked now.
#[derive(Debug, Default)]
pub(super) struct Away {
    /// Why, where it was found out here.
    pub(super) error: Option<JudgeError>,
    /// Verdicts that it did not give.
    pub(super) verdicts: u64,
}

/// By the index of their subject. None: the judge did not say anything, and would not have, whatever it was asked.
type Verdicts = Vec<(usize, Option<Verdict>)>;

/// What judges that only compute say, off the threads that wait; each verdict with the index of its subject.
pub(super) async fn on_this_machine(
    judges: Vec<Arc<dyn Judge>>,
    subjects: Vec<Arc<Subject>>,
) -> anyhow::Result<Verdicts> {
    let handle = tokio::runtime::Handle::current();
    let computed = tokio::task::spawn_blocking(move || {
        let mut verdicts = Vec::with_capacity(judges.len() * subjects.len());
        for (index, subject) in subjects.iter().enumerate() {
            for judge in &judges {
                verdicts.push((index, Some(patience::compute(&handle, judge.as_ref(), subject))));
            }
        }
        verdicts
    });
    computed.await.context("a judge did not come to an end")
}

/// What judges that ask somebody else say, several at a time. A judge that nobody answers is not asked again.
pub(super) async fn from_elsewhere(
    judges: &[Arc<dyn Judge>],
    subjects: &[Arc<Subject>],
    away: &mut BTreeMap<String, Away>,
) -> anyhow::Result<Verdicts> {
    let mut said = Vec::with_capacity(judges.len() * subjects.len());
    let mut running = tokio::task::JoinSet::new();
    for (index, subject) in subjects.iter().enumerate() {
        for judge in judges {
            if running.len() >= REMOTE_AT_A_TIME
                && let Some(done) = running.join_next().await
            {
                said.push(heard(done.context("a judge did not come to an end")?, subjects, away));
            }
            if let Some(known) = away.get_mut(&versioned(judge.as_ref())) {
                known.verdicts += 1;
                said.push((index, judge.clone(), None));
                continue;
            }
            let (judge, subject) = (judge.clone(), subject.clone());
            running.spawn(async move {
                let verdict = patience::attempt(judge.clone(), subject).await;
                (index, judge, verdict)
            });
        }
    }
    while let Some(done) = running.join_next().await {
        said.push(heard(done.context("a judge did not come to an end")?, subjects, away));
    }
    said.sort_by(|(one, a, _), (other, b, _)| one.cmp(other).then_with(|| a.name().cmp(b.name())));
    Ok(said.into_iter().map(|(index, _, verdict)| (index, verdict)).collect())
}

type Said = (usize, Arc<dyn Judge>, Option<Verdict>);

fn heard(
    (index, judge, verdict): (usize, Arc<dyn Judge>, Result<Verdict, JudgeError>),
    subjects: &[Arc<Subject>],
    away: &mut BTreeMap<String, Away>,
) -> Said {
    match verdict {
        Ok(verdict) => (index, judge, Some(verdict)),
        Err(error) if error.is_passing() => {
            let known = away.entry(versioned(judge.as_ref())).or_default();
            known.verdicts += 1;
            known.error.get_or_insert(error);
            (index, judge, None)
        }
        Err(error) => {
            let verdict =
                subjects.get(index).map(|subject| patience::failed(judge.as_ref(), subject, &error));
            (index, judge, verdict)
        }
    }
}
