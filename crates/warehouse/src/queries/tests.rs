//! Every file of `queries/` on the real engine: none is an orphan, each is understood, and the lists use the primary key.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, what cannot be had must end it")]

use super::{LOAD_CALLS, MIGRATIONS, MIGRATIONS_TABLE, engine, read};
use crate::client::{Limits, Warehouse, WarehouseConfig};
use crate::migrate::{render, statements};
use crate::testing::{Engine, Load};
use crate::{EventRow, SpanRow};
use clickhouse::query::Query;
use contracts::reads::TimeRange;
use std::collections::BTreeSet;
use std::path::Path;

const FROM_MS: i64 = 1_793_613_600_000;
const DAY_MS: i64 = 86_400_000;

/// `{name:Type}` in a text.
fn parameters(sql: &str) -> BTreeSet<(&str, &str)> {
    let after_brace = sql.split('{').skip(1);
    after_brace.filter_map(|rest| rest.split_once('}')?.0.split_once(':')).collect()
}

/// Binds every parameter of a read: one of several tenants, one of several hours, no filter.
fn bind(query: Query, sql: &str) -> Query {
    parameters(sql).into_iter().fold(query, |query, (name, kind)| match (name, kind) {
        ("tenants", _) => query.param(name, vec!["tenant-1"]),
        ("traces" | "spans" | "events", _) => query.param(name, vec!["a".repeat(32)]),
        ("usage" | "latency", _) => query.param(name, format!("{name}_hour")),
        ("sampled", _) => query.param(name, vec![("", "", 1_000_000_u32)]),
        (_, "Array(String)") => query.param(name, Vec::<String>::new()),
        ("previous_ms" | "from_ms" | "picked_from_ms" | "hours_from_ms" | "days_from_ms", _) => {
            query.param(name, FROM_MS)
        }
        ("to_ms" | "picked_to_ms" | "days_to_ms" | "hours_to_ms", _) => {
            query.param(name, FROM_MS + 3_600_000)
        }
        ("from_ns" | "after_ns" | "start_from_ns" | "judged_ns" | "errors_since_ns", _) => {
            query.param(name, FROM_MS * 1_000_000)
        }
        ("to_ns" | "until_ns", _) => query.param(name, (FROM_MS + 3_600_000) * 1_000_000),
        ("before_ns", _) => query.param(name, i64::MAX),
        ("previous_up" | "from_down" | "from_up", _) => query.param(name, FROM_MS / 1000),
        ("per", _) => query.param(name, "tenant"),
        ("to_down", _) => query.param(name, FROM_MS / 1000 + 3600),
        ("trace" | "text", _) => query.param(name, "b".repeat(32)),
        ("run", _) => query.param(name, "run-1"),
        ("from_position", _) => query.param(name, 0),
        (_, "Bool") => query.param(name, true),
        (_, "String") => query.param(name, ""),
        ("min_cost", _) => query.param(name, "0"),
        (_, "UInt32" | "UInt64" | "Float64") => query.param(name, 60),
        other => panic!("no sample for the parameter {other:?}"),
    })
}

async fn explain(
    warehouse: &Warehouse,
    how: &str,
    sql: &str,
) -> Result<Vec<String>, clickhouse::error::Error> {
    bind(warehouse.database().query_raw(&format!("EXPLAIN {how} {sql}")), sql).fetch_all::<String>().await
}

#[test]
fn no_file_of_the_folder_is_forgotten_and_each_tells_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../queries");
    let texts = read::FILES.iter().copied();
    let migrations = MIGRATIONS.iter().map(|migration| migration.sql);
    let embedded: BTreeSet<&str> = texts
        .chain(migrations)
        .chain([MIGRATIONS_TABLE, LOAD_CALLS, engine::SERVE, engine::SYSTEM])
        .collect();
    let mut files = 0;
    for folder in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(embedded.contains(text.as_str()), "{} is embedded nowhere", path.display());
            assert!(text.starts_with("-- "), "{} does not say what it is", path.display());
            files += 1;
        }
    }
    assert_eq!(files, embedded.len());
    for file in read::FILES {
        let header: String = file.lines().take_while(|line| line.starts_with("--")).collect();
        assert!(header.contains("Parameters:"), "does not name its parameters: {header}");
    }
    for (name, sql) in read::ALL {
        let header: String = sql.lines().filter(|line| line.starts_with("--")).collect();
        for (parameter, _) in parameters(sql) {
            assert!(header.contains(parameter), "{name} does not explain {parameter}");
        }
    }
}

#[test]
fn migrations_are_numbered_without_gaps() {
    for (index, migration) in (1..).zip(MIGRATIONS) {
        assert_eq!(migration.version, index);
        assert!(migration.name.starts_with(&format!("{index:04}_")), "{}", migration.name);
    }
}

#[tokio::test]
async fn the_engine_understands_every_file_and_lists_use_the_primary_key() {
    let engine = Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let range = TimeRange { from_ms: FROM_MS, to_ms: FROM_MS + 2 * DAY_MS };
    Load { calls: 200_000, tenants: 4, range }.insert(&warehouse).await;
    // The load has calls only; a table without a row has no index to speak of.
    let other = |record: &str, operation: &str| SpanRow {
        tenant_id: "tenant-1".to_owned(),
        start_time: FROM_MS * 1_000_000,
        record: record.to_owned(),
        operation: operation.to_owned(),
        retention_days: 3650,
        ..SpanRow::default()
    };
    warehouse.insert_spans(&[other("attempt", "chat"), other("", "retrieval")], "others").await.unwrap();

    // Events that feed the tables of evaluations and of actions too.
    let event = |name: &str| EventRow {
        tenant_id: "tenant-1".to_owned(),
        time: FROM_MS * 1_000_000,
        event_name: name.to_owned(),
        retention_days: 3650,
        ..EventRow::default()
    };
    let events = [event("gen_ai.evaluation.result"), event("control_tower.action")];
    warehouse.insert_events(&events, "events").await.unwrap();
    crate::reads::runs::put_samples(&warehouse, "tenant-1").await;

    let reader = Warehouse::connect(engine.reader_config("control_tower"));
    for (name, sql) in read::ALL {
        let plan = explain(&warehouse, "indexes = 1", sql).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        // The console asks as somebody who may only read our databases; how the engine fares is asked by its own role.
        let who = if *name == "vitals.sql" { &warehouse } else { &reader };
        let rows = bind(who.read(sql, Limits::TEXT), sql).fetch_bytes("Null").unwrap().collect().await;
        rows.unwrap_or_else(|e| panic!("{name}: {e}"));
        if parameters(sql).iter().any(|(parameter, _)| *parameter == "tenants") {
            assert!(
                plan.iter().any(|line| line.contains("PrimaryKey")),
                "{name} uses no primary key: {plan:#?}"
            );
        }
    }
    for (name, sql) in [
        ("calls", read::CALLS),
        ("existing_spans", read::EXISTING_SPANS),
        ("overview_usage_filtered", read::OVERVIEW_USAGE_FILTERED),
        ("overview_latency", read::OVERVIEW_LATENCY),
        ("call_spans", read::CALL_SPANS),
        ("unjudged_calls", read::UNJUDGED_CALLS),
    ] {
        let plan = explain(&warehouse, "indexes = 1", sql).await.unwrap();
        let (read, all) = granules(&plan);
        assert!(read * 2 < all, "{name} reads {read} of {all} granules: {plan:#?}");
    }
}

/// Granules that the primary key left of those that it was given, over all tables of a plan.
fn granules(plan: &[String]) -> (u64, u64) {
    let after_key = plan.iter().scan(false, |in_key, line| {
        if line.contains("PrimaryKey") {
            *in_key = true;
        } else if line.trim_matches([' ', '│']).starts_with("Skip") {
            *in_key = false;
        }
        Some(if *in_key { line.split_once("Granules: ").map(|(_, numbers)| numbers) } else { None })
    });
    after_key.flatten().fold((0, 0), |(read, all), numbers| {
        let (some, of) = numbers.trim().split_once('/').unwrap();
        (read + some.parse::<u64>().unwrap(), all + of.parse::<u64>().unwrap())
    })
}

#[tokio::test]
async fn the_clustered_schema_parses() {
    let engine = Engine::start().await;
    let config =
        WarehouseConfig { cluster: Some("main".to_owned()), ..engine.client_config("control_tower") };
    let warehouse = engine.warehouse("control_tower").await;
    for template in MIGRATIONS.iter().map(|migration| migration.sql).chain([MIGRATIONS_TABLE]) {
        let sql = render(template, &config);
        for statement in statements(&sql) {
            let tree = warehouse
                .database()
                .query_raw(&format!("EXPLAIN AST {statement}"))
                .fetch_all::<String>()
                .await;
            tree.unwrap_or_else(|e| panic!("{statement}: {e}"));
            assert!(statement.contains("ON CLUSTER main"), "{statement}");
            let needs_no_engine = statement.contains("VIEW") || statement.contains("ALTER TABLE");
            assert!(needs_no_engine || statement.contains("ENGINE = Replicated"), "{statement}");
        }
    }
}
