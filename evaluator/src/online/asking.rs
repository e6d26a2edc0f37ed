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

/// What came of a judge and a subject.
#[derive(Debug)]
pub(super) enum Said {
    /// A verdict, to be kept.
    Verdict(Verdict),
    /// Nothing, and it would not have said anything, whatever it was asked. It may have paid for that.
    Nothing(Option<Verdict>),
}

/// By the index of their subject.
type Verdicts = Vec<(usize, Said)>;

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
                let verdict = patience::compute(&handle, judge.as_ref(), subject);
                verdicts.push((index, Said::Verdict(verdict)));
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
                said.push(heard(done.context("a judge did not come to an end")?, away));
            }
            if let Some(known) = away.get_mut(&versioned(judge.as_ref())) {
                known.verdicts += 1;
                said.push((index, judge.clone(), Said::Nothing(None)));
                continue;
            }
            let (judge, subject) = (judge.clone(), subject.clone());
            running.spawn(async move {
                let verdict = patience::attempt(judge.clone(), subject.clone()).await;
                (index, judge, subject, verdict)
            });
        }
    }
    while let Some(done) = running.join_next().await {
        said.push(heard(done.context("a judge did not come to an end")?, away));
    }
    said.sort_by(|(one, a, _), (other, b, _)| one.cmp(other).then_with(|| a.name().cmp(b.name())));
    Ok(said.into_iter().map(|(index, _, verdict)| (index, verdict)).collect())
}

type Asked = (usize, Arc<dyn Judge>, Arc<Subject>, Result<Verdict, JudgeError>);

fn heard(
    (index, judge, subject, verdict): Asked,
    away: &mut BTreeMap<String, Away>,
) -> (usize, Arc<dyn Judge>, Said) {
    let failed = |error: &JudgeError| patience::failed(judge.as_ref(), &subject, error);
    let said = match verdict {
        Ok(verdict) => Said::Verdict(verdict),
        Err(error) if error.is_passing() => {
            let paid = failed(&error);
            let known = away.entry(versioned(judge.as_ref())).or_default();
            known.verdicts += 1;
            known.error.get_or_insert(error);
            Said::Nothing(Some(paid))
        }
        Err(error) => Said::Verdict(failed(&error)),
    };
    (index, judge, said)
}
