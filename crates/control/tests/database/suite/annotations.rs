//! The queue of annotations.

use crate::support::{NOW, Store};
use contracts::{TenantId, Timestamp};
use control::ControlError;
use control::records::{HumanLabel, LabelledQueue, NewAnnotation, Said};

const LATER: Timestamp = Timestamp::from_unix_nanos(NOW.unix_nanos() + 1_000_000_000);

pub async fn live_from_queue_to_label(store: Store) {
    let annotations = store.control.annotations();
    let acme: TenantId = "acme".parse().unwrap();
    let other: TenantId = "other".parse().unwrap();
    let new = |span: &str| NewAnnotation {
        tenant: acme.clone(),
        queue: "default".to_owned(),
        trace_id: "t".to_owned(),
        span_id: span.to_owned(),
        subject: serde_json::json!({"answer": "Rome"}),
        verdicts: serde_json::json!([{"judge": "grounding", "score": 0.5}]),
    };
    let first = annotations.create(new("1"), NOW).await.unwrap();
    let second = annotations.create(new("2"), LATER).await.unwrap();
    assert_eq!(annotations.create(new("1"), LATER).await.unwrap(), first, "a call is queued once");
    assert_eq!(annotations.open(&acme, "default", 10).await.unwrap(), [first.clone(), second.clone()]);
    assert!(annotations.open(&other, "default", 10).await.unwrap().is_empty());
    assert_eq!(annotations.get(&other, &first.id).await.unwrap(), None);

    let label = HumanLabel {
        label: "fail".to_owned(),
        score: Some(0.25),
        comment: "no source".to_owned(),
        annotator: "ann".to_owned(),
        at: LATER,
    };
    let labelled = annotations.label(&acme, &first.id, &label).await.unwrap();
    assert_eq!(labelled.label, Some(label.clone()));
    let skipped = annotations.skip(&acme, &second.id, LATER).await.unwrap();
    assert_eq!(skipped.skipped_at, Some(LATER));
    assert!(annotations.open(&acme, "default", 10).await.unwrap().is_empty());
    assert_eq!(annotations.labelled(&acme, "default", NOW).await.unwrap(), std::slice::from_ref(&labelled));
    assert!(annotations.labelled(&other, "default", NOW).await.unwrap().is_empty());
    let said = Said { label: "fail".to_owned(), verdicts: first.verdicts.clone() };
    assert_eq!(annotations.said(&acme, "default", LATER).await.unwrap(), [said]);
    assert!(annotations.said(&other, "default", NOW).await.unwrap().is_empty());
    let queue =
        LabelledQueue { tenant: acme.clone(), queue: "default".to_owned(), labels: 1, last_at: LATER };
    assert_eq!(annotations.labelled_queues(NOW).await.unwrap(), [queue]);
    let after = Timestamp::from_unix_nanos(LATER.unix_nanos() + 1);
    assert!(annotations.labelled_queues(after).await.unwrap().is_empty());
    assert!(annotations.said(&acme, "default", after).await.unwrap().is_empty());
    // A label stays when somebody skips it afterwards, and takes back that it was skipped.
    assert_eq!(annotations.skip(&acme, &first.id, LATER).await.unwrap(), labelled);
    let without_score = HumanLabel { score: None, ..label.clone() };
    let late = annotations.label(&acme, &second.id, &without_score).await.unwrap();
    assert_eq!((late.skipped_at, late.label), (None, Some(without_score.clone())));
    // With and without a score in turns, on whichever connection of the pool.
    for _ in 0..8 {
        for said in [&without_score, &label] {
            let labelled = annotations.label(&acme, &first.id, said).await.unwrap();
            assert_eq!(labelled.label.as_ref(), Some(said));
        }
    }
    let error = annotations.label(&other, &first.id, &label).await.unwrap_err();
    assert!(matches!(error, ControlError::NotFound { .. }), "{error}");
}
