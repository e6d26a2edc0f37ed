//! The schema on the real engine: migrations repeated, raced, foreign and clustered.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use warehouse::testing::Engine;
use warehouse::{Warehouse, WarehouseError};

/// The version of the newest file of `queries/schema`.
fn newest() -> u32 {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../queries/schema");
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.filter_map(|name| name.split_once('_')?.0.parse().ok()).max().unwrap()
}

#[tokio::test]
async fn migrations_can_be_repeated_and_raced() {
    let engine = Engine::start().await;
    let racers = (0..3).map(|_| {
        let warehouse = Warehouse::connect(engine.client_config("control_tower"));
        tokio::spawn(async move { warehouse.migrate().await })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap().unwrap();
    }
    let warehouse = engine.warehouse("control_tower").await;
    warehouse.migrate().await.unwrap();
    let versions = warehouse.schema_versions().await.unwrap();
    assert_eq!(versions, (1..=newest()).collect::<Vec<u32>>());
    // A second database of the same engine is separate.
    assert_eq!(engine.warehouse("control_tower_two").await.schema_versions().await.unwrap(), versions);
}

#[tokio::test]
async fn a_new_schema_and_one_brought_up_to_date_are_the_same() {
    let engine = Engine::start().await;
    let config = engine.client_config("control_tower");
    let client = clickhouse::Client::default().with_url(config.url).with_user(config.user);
    let client = client.with_password(config.password);
    let schema = async |database: &str| {
        let tables = client.query(
            "SELECT name, replaceAll(create_table_query, concat(database, '.'), '') FROM system.tables WHERE database = ? ORDER BY name",
        );
        tables.bind(database).fetch_all::<(String, String)>().await.unwrap()
    };
    Warehouse::connect(engine.client_config("control_tower_new")).migrate().await.unwrap();
    let new = schema("control_tower_new").await;
    assert!(new.iter().any(|(name, _)| name == "spans_to_calls"), "{new:?}");
    for version in 1..=newest() {
        let database = format!("control_tower_{version}");
        let warehouse = Warehouse::connect(engine.client_config(&database));
        warehouse.migrate_to_for_tests(version).await.unwrap();
        assert_eq!(warehouse.schema_versions().await.unwrap(), (1..=version).collect::<Vec<u32>>());
        warehouse.migrate().await.unwrap();
        assert_eq!(schema(&database).await, new, "from version {version}");
    }
    // One that was made whole or in part, by somebody who was ended before it said so.
    for version in [13, newest()] {
        let database = format!("control_tower_cut_{version}");
        let warehouse = Warehouse::connect(engine.client_config(&database));
        warehouse.migrate_to_for_tests(version).await.unwrap();
        warehouse.forget_migrations_for_tests().await.unwrap();
        warehouse.migrate_alone().await.unwrap();
        assert_eq!(schema(&database).await, new, "left at version {version}");
        assert_eq!(warehouse.schema_versions().await.unwrap(), (1..=newest()).collect::<Vec<u32>>());
    }
}

#[tokio::test]
async fn a_view_that_was_left_detached_sees_inserts_again() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let config = engine.client_config("control_tower");
    let client = clickhouse::Client::default().with_url(config.url).with_user(config.user);
    let client = client.with_password(config.password).with_database(config.database);
    let is_there = async || client.query("EXISTS TABLE spans_to_calls").fetch_one::<u8>().await.unwrap() == 1;
    client.query("DETACH TABLE spans_to_calls").execute().await.unwrap();
    assert!(!is_there().await);
    warehouse.migrate().await.unwrap();
    assert!(is_there().await);
}

#[tokio::test]
async fn a_database_of_another_binary_is_refused_with_a_reason() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    warehouse.note_migration_for_tests(3, "0003_attempts.sql", "0123456789abcdef").await.unwrap();
    let error = warehouse.migrate().await.unwrap_err();
    assert!(matches!(error, WarehouseError::ChangedMigration { version: 3, .. }), "{error}");
    warehouse.note_migration_for_tests(99, "0099_future.sql", "00").await.unwrap();
    let error = warehouse.migrate().await.unwrap_err();
    assert!(
        matches!(error, WarehouseError::NewerDatabase { found: 99, known, .. } if known == newest()),
        "{error}"
    );
    assert!(error.to_string().contains("newer control-tower"), "{error}");
}

#[tokio::test]
async fn only_our_own_databases_are_within_reach() {
    let engine = Engine::start().await;
    let error =
        Warehouse::connect(engine.client_config("elsewhere")).migrate().await.unwrap_err().to_string();
    assert!(error.contains("elsewhere") && error.contains("denies access"), "{error}");
    let config =
        warehouse::WarehouseConfig { password: "wrong".to_owned(), ..engine.client_config("control_tower") };
    let error = Warehouse::connect(config).ping().await.unwrap_err().to_string();
    assert!(error.contains("denies access"), "{error}");
    let config = warehouse::WarehouseConfig {
        url: "http://127.0.0.1:1".to_owned(),
        ..engine.client_config("control_tower")
    };
    let error = Warehouse::connect(config).ping().await.unwrap_err().to_string();
    assert!(error.contains("not reachable"), "{error}");
}
