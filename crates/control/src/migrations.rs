//! The schema, in numbered steps: one text for both backends, or one for each where only a trigger will do.

use crate::database::Backend;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, SqlSafeStr};

/// Numbered, never edited once released: a changed text is refused at start by its checksum.
const MIGRATIONS: &[(i64, &str, Text)] = &[
    (1, "control", Text::Shared(include_str!("../migrations/0001_control.sql"))),
    (2, "judging", Text::Shared(include_str!("../migrations/0002_judging.sql"))),
    (3, "judge_spending", Text::Shared(include_str!("../migrations/0003_judge_spending.sql"))),
    (4, "judging_pauses", Text::Shared(include_str!("../migrations/0004_judging_pauses.sql"))),
    (5, "policy", Text::Shared(include_str!("../migrations/0005_policy.sql"))),
    (
        6,
        "audit_only_grows",
        Text::PerBackend {
            sqlite: include_str!("../migrations/0006_audit_only_grows.sqlite.sql"),
            postgres: include_str!("../migrations/0006_audit_only_grows.postgres.sql"),
        },
    ),
    // There never was a step 7.
    (8, "key_guardrails", Text::Shared(include_str!("../migrations/0008_key_guardrails.sql"))),
    (9, "model_price_as", Text::Shared(include_str!("../migrations/0009_model_price_as.sql"))),
    (10, "measurements", Text::Shared(include_str!("../migrations/0010_measurements.sql"))),
];

/// What a migration runs.
#[derive(Debug, Clone, Copy)]
enum Text {
    /// The same on both backends.
    Shared(&'static str),
    /// What only one of them understands, such as a trigger.
    PerBackend { sqlite: &'static str, postgres: &'static str },
}

/// Brings the schema up to date.
pub(crate) async fn run(pool: &AnyPool, backend: Backend) -> Result<(), MigrateError> {
    let migrations = MIGRATIONS
        .iter()
        .map(|&(version, name, text)| {
            let sql = match (text, backend) {
                (Text::Shared(sql), _)
                | (Text::PerBackend { sqlite: sql, .. }, Backend::Sqlite)
                | (Text::PerBackend { postgres: sql, .. }, Backend::Postgres) => sql,
            };
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        })
        .collect();
    Migrator::with_migrations(migrations).run(pool).await
}
