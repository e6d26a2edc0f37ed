//! What experiments have beside what every document has.

use crate::support::{NOW, Store};
use contracts::PolicyName;
use contracts::policy::Kind;
use contracts::policy::experiment::Status;
use serde_json::json;

pub async fn are_paused_while_others_write(store: Store) {
    let tone: PolicyName = "tone".parse().unwrap();
    let spec = |n: u32| json!({"salt": n.to_string(), "arms": [{"name": "a"}, {"name": "b"}]});
    let put = async |n| {
        store.control.documents().put(Kind::Experiment, None, &tone, &spec(n), None, NOW).await.unwrap()
    };
    put(0).await;
    let (control, name) = (store.control.clone(), tone.clone());
    let switching = tokio::spawn(async move {
        for _ in 0..10 {
            for status in [Status::Paused, Status::Running] {
                control.experiments().set_status(None, &name, status, NOW).await.unwrap();
            }
        }
    });
    for n in 1..=20 {
        put(n).await;
    }
    switching.await.unwrap();
    // Whoever wrote between two switches is not written over with what was there before.
    let paused = store.control.experiments().set_status(None, &tone, Status::Paused, NOW).await.unwrap();
    assert_eq!((&paused.spec["salt"], &paused.spec["status"]), (&json!("20"), &json!("paused")));
    assert_eq!(paused.spec["arms"], spec(20)["arms"]);
}
