//! Settings.

use crate::support::Store;

pub async fn are_written_once_by_many(store: Store) {
    let settings = store.control.settings();
    assert_eq!(settings.get("collector.key").await.unwrap(), None);
    // Roles that start at once agree on one value.
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let settings = settings.clone();
            tokio::spawn(
                async move { settings.get_or_set("collector.key", &format!("key-{n}")).await.unwrap() },
            )
        })
        .collect();
    let mut values = Vec::new();
    for task in tasks {
        values.push(task.await.unwrap());
    }
    values.dedup();
    assert_eq!(values.len(), 1, "{values:?}");
    assert_eq!(settings.get("collector.key").await.unwrap().as_ref(), values.first());

    settings.set("collector.key", "other").await.unwrap();
    assert_eq!(settings.get_or_set("collector.key", "late").await.unwrap(), "other");
    assert_eq!(
        settings.list().await.unwrap().into_iter().collect::<Vec<_>>(),
        [("collector.key".to_owned(), "other".to_owned())]
    );
    settings.delete("collector.key").await.unwrap();
    settings.delete("collector.key").await.unwrap();
    assert_eq!(settings.get("collector.key").await.unwrap(), None);
    assert!(settings.set("two words", "x").await.is_err());
}
