//! Opening: again, and by many at once.

use crate::support::{NOW, Store};
use control::Control;
use control::records::NewTenant;

pub async fn again_keeps_everything(store: Store) {
    store.tenant("acme").await;
    let version = store.control.version().await.unwrap();
    store.control.close().await;
    let again = Control::open(&store.url).await.unwrap();
    assert_eq!(again.version().await.unwrap(), version);
    assert_eq!(again.tenants().list().await.unwrap().len(), 1);
}

pub async fn many_at_once_migrate_once(store: Store) {
    // All roles of a tower start together: undo the schema and let eight of them find it missing.
    let mut raw = store.raw().await;
    for table in [
        "audit",
        "policy_references",
        "prompt_labels",
        "prompts",
        "documents",
        "judge_pauses",
        "judge_keys",
        "judge_spending",
        "annotations",
        "judging_chunks",
        "experiment_measurements",
        "judging_streams",
        "judging_leases",
        "settings",
        "admin_keys",
        "sessions",
        "user_tenants",
        "users",
        "prices",
        "routes",
        "models",
        "providers",
        "api_keys",
        "tenants",
        "control_version",
        "_sqlx_migrations",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE {table}"))).execute(&mut raw).await.unwrap();
    }
    store.control.close().await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let url = store.url.clone();
            tokio::spawn(async move {
                let control = Control::open(&url).await.unwrap();
                let id = format!("t{n}").parse().unwrap();
                control.tenants().create(NewTenant::new(id), NOW).await.unwrap();
                control.close().await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let control = Control::open(&store.url).await.unwrap();
    assert_eq!(control.tenants().list().await.unwrap().len(), 8);
    assert_eq!(control.version().await.unwrap(), 9);
}
