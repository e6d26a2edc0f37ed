//! The price book.

use crate::support::{Store, price};
use contracts::price::{PriceKey, ServiceTier};
use contracts::{Timestamp, TokenUsage, Usd};
use control::repositories::PriceChanges;

pub async fn are_written_as_a_whole(store: Store) {
    let prices = store.control.prices();
    let old = price("openai", "gpt", None, "1");
    let new = price("openai", "gpt", Some("2026-01-01"), "0.5");
    let changes = prices.put(vec![new.clone(), old.clone()]).await.unwrap();
    assert_eq!(changes, PriceChanges { added: 2, ..PriceChanges::default() });
    assert_eq!(prices.list().await.unwrap(), [old.clone(), new.clone()]);

    let version = store.control.version().await.unwrap();
    let changes = prices.put(vec![old.clone()]).await.unwrap();
    assert_eq!(changes, PriceChanges { unchanged: 1, ..PriceChanges::default() });
    assert_eq!(store.control.version().await.unwrap(), version, "nothing changed");

    let dearer = price("openai", "gpt", None, "2");
    let changes = prices.put(vec![dearer.clone()]).await.unwrap();
    assert_eq!(changes, PriceChanges { changed: 1, ..PriceChanges::default() });
    assert_eq!(store.control.version().await.unwrap(), version + 1);

    let changes = prices.replace(vec![dearer.clone()]).await.unwrap();
    assert_eq!(changes, PriceChanges { unchanged: 1, removed: 1, ..PriceChanges::default() });
    assert_eq!(prices.list().await.unwrap(), std::slice::from_ref(&dearer));

    let none = PriceKey { valid_from: Some(Timestamp::from_unix_seconds(5)), ..dearer.key() };
    assert_eq!(prices.delete(&none).await.unwrap_err().to_string(), "price \"openai/gpt\" does not exist");
    prices.delete(&dearer.key()).await.unwrap();
    assert!(prices.list().await.unwrap().is_empty());
}

pub async fn that_contradict_each_other_are_refused(store: Store) {
    let prices = store.control.prices();
    prices.put(vec![price("openai", "gpt", None, "1")]).await.unwrap();
    let mut rival = price("openai", "gpt-5", None, "1");
    rival.aliases = vec!["gpt".into()];
    let bad = vec![price("openai", "fine", None, "1"), {
        let mut bad = price("openai", "b", None, "1");
        bad.model = String::new();
        bad
    }];
    let before = store.control.version().await.unwrap();
    let error = prices.put(bad).await.unwrap_err().to_string();
    assert!(error.contains("openai/") && error.contains("model"), "{error}");
    let twins = vec![rival.clone(), {
        let mut twin = price("openai", "gpt-6", None, "1");
        twin.aliases = vec!["gpt".into()];
        twin
    }];
    let error = prices.put(twins).await.unwrap_err().to_string();
    assert!(error.contains("gpt"), "{error}");
    assert_eq!(prices.list().await.unwrap().len(), 1, "all or none");
    assert_eq!(store.control.version().await.unwrap(), before);
}

pub async fn name_their_content(store: Store) {
    let prices = store.control.prices();
    let (a, b) = (price("openai", "gpt", None, "0.15"), price("anthropic", "claude", None, "3"));
    prices.put(vec![a.clone(), b.clone()]).await.unwrap();
    let version = prices.book().await.unwrap().version;
    assert_eq!(version.len(), 16);
    assert_eq!(store.control.snapshot().await.unwrap().prices.version, version);

    // Equal content has an equal version, however it came about; other content has another.
    prices.replace(Vec::new()).await.unwrap();
    assert_ne!(prices.book().await.unwrap().version, version);
    prices.put(vec![b]).await.unwrap();
    prices.put(vec![a]).await.unwrap();
    assert_eq!(prices.book().await.unwrap().version, version);

    let book = store.control.snapshot().await.unwrap().prices.clone();
    let usage = TokenUsage { input: 1_000_000, ..TokenUsage::default() };
    let cost =
        book.cost("openai", "gpt", ServiceTier::Standard, &usage, Timestamp::from_unix_seconds(0)).unwrap();
    assert_eq!(cost.total, "0.15".parse::<Usd>().unwrap());
}
