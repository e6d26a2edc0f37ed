//! What experiments have beside what every document has.

use crate::support::{NOW, Store};
use contracts::PolicyName;
use contracts::policy::Kind;
use contracts::policy::experiment::Status;
use control::records::AuditFilter;
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
        for _ in 0..30 {
            for status in [Status::Paused, Status::Running] {
                control.experiments().set_status(None, &name, status, NOW).await.unwrap();
            }
        }
    });
    for n in 1..=60 {
        put(n).await;
    }
    switching.await.unwrap();
    let filter = AuditFilter { limit: Some(1000), ..AuditFilter::default() };
    let log = store.control.audit().list(&filter).await.unwrap().data;
    // Documents are put without a status, so that whatever has one was switched.
    let switched = log.iter().filter_map(|entry| Some((entry.before.as_ref()?, entry.after.as_ref()?)));
    let mut switched = switched.filter(|(_, after)| !after["spec"]["status"].is_null()).peekable();
    assert!(switched.peek().is_some(), "{log:?}");
    for (before, after) in switched {
        assert_eq!(before["spec"]["salt"], after["spec"]["salt"], "what another wrote is written over");
        assert_eq!(before["spec"]["arms"], after["spec"]["arms"]);
    }
}
