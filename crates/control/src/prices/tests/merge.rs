//! Imports into a control database.

use crate::Control;
use crate::prices::{Format, import, seed, seed_entries};
use contracts::price::ServiceTier;
use contracts::{Timestamp, TokenUsage};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);
const BEFORE: Timestamp = Timestamp::from_unix_seconds(1_780_000_000);

async fn open(dir: &tempfile::TempDir) -> Control {
    Control::open(&format!("sqlite://{}/control.db", dir.path().display())).await.unwrap()
}

async fn take(control: &Control, text: &str, dry_run: bool) -> crate::prices::ImportReport {
    import(control, None, text.as_bytes(), dry_run, NOW).await.unwrap()
}

/// The standard input price of a model in USD per million tokens.
async fn input(control: &Control, provider: &str, model: &str, at: Timestamp) -> Option<String> {
    let usage = TokenUsage { input: 1_000_000, ..TokenUsage::default() };
    // A million tokens are a long context; these models have none.
    let cost =
        control.prices().book().await.unwrap().cost(provider, model, ServiceTier::Standard, &usage, at);
    cost.map(|cost| cost.total.to_string())
}

#[tokio::test]
async fn only_an_empty_table_is_seeded() {
    let dir = tempfile::tempdir().unwrap();
    let control = open(&dir).await;
    assert_eq!(seed(&control).await.unwrap(), seed_entries().unwrap().len());
    let version = control.prices().book().await.unwrap().version;
    assert_eq!(seed(&control).await.unwrap(), 0);
    assert_eq!(control.prices().book().await.unwrap().version, version);
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let control = open(&dir).await;
    for text in [include_str!("fixtures/genai.json"), include_str!("fixtures/litellm.json")] {
        let before = control.prices().book().await.unwrap();
        let dry = take(&control, text, true).await;
        assert_eq!(control.prices().book().await.unwrap(), before);
        let wet = take(&control, text, false).await;
        assert_eq!((dry.added, dry.changed, dry.unchanged), (wet.added, wet.changed, wet.unchanged));
        assert!(wet.added > 0);
        assert_eq!(
            control.prices().book().await.unwrap().entries().len(),
            before.entries().len() + wet.added
        );
    }
}

#[tokio::test]
async fn importing_twice_changes_nothing_the_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let control = open(&dir).await;
    seed(&control).await.unwrap();
    for text in [include_str!("fixtures/genai.json"), include_str!("fixtures/litellm.json")] {
        take(&control, text, false).await;
        let book = control.prices().book().await.unwrap();
        let again = take(&control, text, false).await;
        assert_eq!((again.added, again.changed), (0, 0), "{again:#?}");
        assert_eq!(control.prices().book().await.unwrap(), book);
    }
}

#[tokio::test]
async fn another_price_for_today_holds_from_the_import_on() {
    let dir = tempfile::tempdir().unwrap();
    let control = open(&dir).await;
    seed(&control).await.unwrap();
    let text = r#"{
        "gpt-4o-mini": {"litellm_provider": "openai", "input_cost_per_token": 2e-07, "output_cost_per_token": 6e-07},
        "gpt-4o-mini-2024-07-18": {"litellm_provider": "openai", "input_cost_per_token": 3e-07},
        "brand-new": {"litellm_provider": "openai", "input_cost_per_token": 4e-07}
    }"#;
    let report = take(&control, text, false).await;
    assert_eq!((report.format, report.added, report.changed), (Format::Litellm, 3, 0));
    for (model, before, now) in [
        ("gpt-4o-mini", Some("0.15"), "0.2"),
        ("gpt-4o-mini-2024-07-18", Some("0.15"), "0.3"),
        // What the book knew nothing about holds since ever.
        ("brand-new", Some("0.4"), "0.4"),
    ] {
        assert_eq!(input(&control, "openai", model, BEFORE).await.as_deref(), before, "{model} before");
        assert_eq!(input(&control, "openai", model, NOW).await.as_deref(), Some(now), "{model} now");
    }
}

#[tokio::test]
async fn dated_prices_are_set_at_their_dates_and_history_stays() {
    let dir = tempfile::tempdir().unwrap();
    let control = open(&dir).await;
    seed(&control).await.unwrap();
    let text = r#"[{"id": "openai", "models": [{"id": "o3", "match": {"equals": "o3-also"}, "prices": [
        {"prices": {"input_mtok": 11}},
        {"constraint": {"start_date": "2025-06-10"}, "prices": {"input_mtok": 2.5}},
        {"constraint": {"start_date": "2099-01-01"}, "prices": {"input_mtok": 1}}
    ]}]}]"#;
    let report = take(&control, text, false).await;
    assert_eq!((report.added, report.changed, report.unchanged), (1, 1, 0), "{report:#?}");
    assert!(report.partial.iter().any(|note| note.model == "o3" && note.reason.contains("own history")));
    let day = |text: &str| contracts::price::instant::read(text).unwrap();
    for (at, price) in
        [("2025-06-09", "10"), ("2025-06-10", "2.5"), ("2098-12-31", "2.5"), ("2099-01-01", "1")]
    {
        assert_eq!(input(&control, "openai", "o3", day(at)).await.as_deref(), Some(price), "{at}");
    }
    assert_eq!(input(&control, "openai", "o3-also", day("2025-06-10")).await.as_deref(), Some("2.5"));
}

#[tokio::test]
async fn a_name_stays_with_the_model_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let control = open(&dir).await;
    let text = r#"[{"id": "p", "models": [
        {"id": "a", "match": {"equals": "shared"}, "prices": {"input_mtok": 1}},
        {"id": "b", "match": {"or": [{"equals": "shared"}, {"equals": "own"}]}, "prices": {"input_mtok": 2}},
        {"id": "a", "match": {"equals": "more"}, "prices": {"input_mtok": 1}}
    ]}]"#;
    let report = take(&control, text, false).await;
    assert!(report.partial.iter().any(|note| note.model == "b" && note.reason.contains("stays with \"a\"")));
    assert_eq!(input(&control, "p", "shared", NOW).await.as_deref(), Some("1"));
    assert_eq!(input(&control, "p", "own", NOW).await.as_deref(), Some("2"));
    // The book's own price is only given further names.
    let report = take(&control, r#"[{"id": "p", "models": [
        {"id": "a", "match": {"or": [{"equals": "third"}, {"equals": "own"}]}, "prices": {"input_mtok": 1}}]}]"#, false).await;
    assert_eq!((report.added, report.changed, report.unchanged), (0, 1, 0));
    assert_eq!(input(&control, "p", "third", NOW).await.as_deref(), Some("1"));
    assert_eq!(input(&control, "p", "own", NOW).await.as_deref(), Some("2"));
}
