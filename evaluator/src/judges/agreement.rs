//! How well judges agree with people: Cohen's κ, a reliability curve, what a judgement costs, and whether they part.
//!
//! A person's `pass` or `fail` is compared with the judge's label, turned into the same two words; other labels are left out. Judges part
//! when the κ of the latest labels lies below what agreement has been before, or below what is worth relying on, by more than
//! chance.

use crate::stats::{Interval, agreement, calibration};
use contracts::{Timestamp, Usd};
use control::records::Said;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Judges whose score is high when the answer is bad.
const HIGH_IS_BAD: [&str; 5] = ["hallucination", "pii_leak", "refusal", "toxicity", "uncertainty"];
/// Labels of judges that mean a good answer.
const GOOD: [&str; 4] = ["answered", "certain", "clean", "pass"];
/// Labels that say nothing of the answer.
const SILENT: [&str; 2] = [super::NOT_APPLICABLE, super::ERROR];
/// Labels that count as the latest.
const LATEST: usize = 100;
/// Fewer of them raise no alarm.
const ENOUGH: usize = 30;
/// Agreement below this is not worth relying on ("fair", Landis and Koch 1977).
const WORTH: f64 = 0.4;
/// Of intervals.
const LEVEL: f64 = 0.95;
/// Of the reliability curve.
const BINS: usize = 10;

/// How far back agreement looks.
const WINDOW_NS: i64 = 90 * 86_400 * 1_000_000_000;

/// From when on labels count at `now`: those of the last 90 days.
pub fn since(now: Timestamp) -> Timestamp {
    Timestamp::from_unix_nanos(now.unix_nanos().saturating_sub(WINDOW_NS))
}

/// One version of one judge against people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The judge.
    pub judge: String,
    /// Its version.
    pub version: String,
    /// Calls that both have labelled.
    pub pairs: usize,
    /// Share on which they say the same.
    pub observed: f64,
    /// Agreement beyond chance; absent where one of them always says the same.
    pub kappa: Option<Interval>,
    /// Of the judge's score, turned so that high is good, against the share that people passed.
    pub curve: Vec<calibration::Bin>,
    /// Expected calibration error of it.
    pub calibration_error: Option<f64>,
    /// What one judgement cost on average, USD.
    pub cost_per_judgement: Usd,
    /// Why the judge should not be relied on for now.
    pub alarm: Option<String>,
}

#[derive(Deserialize)]
struct Verdict {
    judge: String,
    version: String,
    score: Option<f64>,
    label: String,
    #[serde(default)]
    cost: Usd,
}

/// Of labelled calls, newest first.
pub fn of(labelled: &[Said]) -> Vec<Agreement> {
    let mut by_judge: BTreeMap<(String, String), Vec<(bool, Verdict)>> = BTreeMap::new();
    for call in labelled {
        let passed = match call.label.as_str() {
            "pass" => true,
            "fail" => false,
            _ => continue,
        };
        let said: Vec<Verdict> = serde_json::from_value(call.verdicts.clone()).unwrap_or_default();
        for said in said.into_iter().filter(|said| !SILENT.contains(&said.label.as_str())) {
            by_judge.entry((said.judge.clone(), said.version.clone())).or_default().push((passed, said));
        }
    }
    by_judge.into_iter().map(|((judge, version), pairs)| compare(judge, version, &pairs)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "at most ten thousand pairs")]
fn compare(judge: String, version: String, pairs: &[(bool, Verdict)]) -> Agreement {
    let labels: Vec<(bool, bool)> =
        pairs.iter().map(|(passed, said)| (*passed, GOOD.contains(&said.label.as_str()))).collect();
    let same = labels.iter().filter(|(person, judge)| person == judge).count();
    let turned = HIGH_IS_BAD.contains(&judge.as_str());
    let (scores, passed): (Vec<f64>, Vec<bool>) = pairs
        .iter()
        .filter_map(|(passed, said)| {
            let score = said.score.filter(|score| (0.0..=1.0).contains(score))?;
            Some((if turned { 1.0 - score } else { score }, *passed))
        })
        .unzip();
    let cost: i128 = pairs.iter().map(|(_, said)| said.cost.picos()).sum();
    let count = i128::try_from(pairs.len().max(1)).unwrap_or(1);
    Agreement {
        judge,
        version,
        pairs: pairs.len(),
        observed: same as f64 / pairs.len().max(1) as f64,
        kappa: agreement::cohens_kappa(&labels, LEVEL),
        curve: calibration::reliability(&scores, &passed, BINS),
        calibration_error: calibration::expected_error(&scores, &passed, BINS),
        cost_per_judgement: Usd::from_picos(cost / count),
        alarm: alarm(&labels),
    }
}

/// The labels are newest first.
fn alarm(labels: &[(bool, bool)]) -> Option<String> {
    let (latest, before) = labels.split_at(labels.len().min(LATEST));
    if latest.len() < ENOUGH {
        return None;
    }
    let now = agreement::cohens_kappa(latest, LEVEL)?;
    if now.high < WORTH {
        return Some(format!(
            "κ of the latest {} labels is {:.2}, at most {:.2}: below {WORTH}",
            latest.len(),
            now.estimate,
            now.high
        ));
    }
    let then = (before.len() >= ENOUGH).then(|| agreement::cohens_kappa(before, LEVEL)).flatten()?;
    (now.high < then.low).then(|| {
        format!(
            "κ fell from {:.2} to {:.2} over the latest {} labels",
            then.estimate,
            now.estimate,
            latest.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What a person says, and the probability of a made-up answer that the judge gives.
    fn labelled(person: &str, score: f64) -> Said {
        let label = if score < 0.5 { "pass" } else { "fail" };
        Said {
            label: person.to_owned(),
            verdicts: json!([
                {"judge": "hallucination", "version": "1", "score": score, "label": label, "cost": "0.002"},
                {"judge": "grounding", "version": "1", "score": null, "label": "not_applicable"}
            ]),
        }
    }

    fn times(count: usize, said: &Said) -> Vec<Said> {
        vec![said.clone(); count]
    }

    #[test]
    fn agreement_is_what_a_hand_computes() {
        // 20 passed by both, 15 failed by both, 5 and 10 on which they differ: κ = (0.7 − 0.5) / (1 − 0.5) = 0.4.
        let all = [
            times(20, &labelled("pass", 0.1)),
            times(15, &labelled("fail", 0.9)),
            times(5, &labelled("pass", 0.9)),
            times(10, &labelled("fail", 0.1)),
            times(3, &labelled("unclear", 0.1)),
        ]
        .concat();
        let found = of(&all);
        assert_eq!(found.len(), 1, "who has nothing to say is not compared");
        let one = &found[0];
        assert_eq!((one.judge.as_str(), one.pairs), ("hallucination", 50));
        assert!((one.observed - 0.7).abs() < 1e-12 && (one.kappa.unwrap().estimate - 0.4).abs() < 1e-12);
        assert_eq!(one.cost_per_judgement, "0.002".parse().unwrap());
        // Of those that it thought good at 0.9, people passed 20 of 30.
        let last = one.curve.last().unwrap();
        assert!((last.predicted - 0.9).abs() < 1e-12 && (last.observed - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(one.alarm, None);
    }

    #[test]
    fn parting_raises_an_alarm() {
        let agreed = [times(100, &labelled("pass", 0.1)), times(100, &labelled("fail", 0.9))].concat();
        let parted = [
            times(30, &labelled("pass", 0.1)),
            times(30, &labelled("fail", 0.1)),
            times(40, &labelled("fail", 0.9)),
        ]
        .concat();
        assert_eq!(of(&agreed)[0].alarm, None);
        let alarm = of(&[parted, agreed.clone()].concat())[0].alarm.clone().unwrap();
        assert!(alarm.contains("fell"), "{alarm}");
        let chance = [
            times(25, &labelled("pass", 0.1)),
            times(25, &labelled("fail", 0.1)),
            times(25, &labelled("pass", 0.9)),
            times(25, &labelled("fail", 0.9)),
        ]
        .concat();
        let alarm = of(&chance)[0].alarm.clone().unwrap();
        assert!(alarm.contains("below 0.4"), "{alarm}");
    }
}
