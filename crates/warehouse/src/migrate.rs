//! Versioned migrations: `queries/schema/NNNN_name.sql`, applied in order, each remembered with its checksum.
//!
//! ClickHouse has no transactions over DDL, and an embedded engine no lock that processes could share. So every statement
//! is written to be harmless when repeated (`IF NOT EXISTS`), and a migration counts as applied only once all of its
//! statements ran: a crash half-way, or two processes migrating at the same time, end in the same schema. An empty database gets
//! the sum of them, with each view as the last of them leaves it; one that has views already and says of no migration that it was
//! applied was left half made, and gets what is missing.

use crate::client::{Warehouse, WarehouseConfig, within};
use crate::error::{WarehouseError, failed};
use crate::queries::{MIGRATIONS, MIGRATIONS_TABLE, Migration, read};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// So long somebody else may take from the first view of a new schema to saying that all of it is there.
const MAKING: Duration = Duration::from_secs(5);

#[derive(Row, Serialize, Deserialize)]
struct Applied {
    version: u32,
    name: String,
    checksum: String,
}

impl From<&Migration> for Applied {
    fn from(migration: &Migration) -> Self {
        Self { version: migration.version, name: migration.name.to_owned(), checksum: checksum(migration) }
    }
}

impl Warehouse {
    /// Creates the database when missing and brings it to the newest schema. Repeating it changes nothing; refuses a
    /// database that a newer binary migrated, or one whose migrations differ from ours.
    pub async fn migrate(&self) -> Result<(), WarehouseError> {
        self.bring_up().await.map(drop)
    }

    /// The same. Whether no view was altered, as in a database that was empty.
    async fn bring_up(&self) -> Result<bool, WarehouseError> {
        self.config().validate()?;
        self.create_database().await?;
        let mut applied = self.applied().await?;
        if applied.is_empty() {
            let mut views = self.views().await?;
            if !views.is_empty() {
                applied = self.applied_soon(views.len()).await?;
                // Whoever made them may have made more meanwhile.
                views = self.views().await?;
            }
            if applied.is_empty() {
                return self.create_schema(&views).await;
            }
        }
        let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
        if let Some(newest) = applied.iter().map(|row| row.version).max().filter(|found| *found > known) {
            let database = self.config().database.clone();
            return Err(WarehouseError::NewerDatabase { database, found: newest, known });
        }
        for migration in MIGRATIONS {
            self.bring_to(migration, &applied).await?;
        }
        // Whoever was ended while it loaded them anew left them detached: nothing would say so, and they would see no inserts.
        for view in MIGRATIONS.iter().flat_map(|migration| altered_views(migration.sql)) {
            self.attach(view).await?;
        }
        Ok(false)
    }

    /// The same, where nobody else migrates or inserts meanwhile: before the roles of an engine that is ours alone are started, or when an
    /// operator says so. Anybody else's inserts would miss the views that are altered.
    ///
    /// The server names the blocks that a view writes by the view as it holds it in memory, and one that was altered is held otherwise
    /// than the same one after a restart: a batch sent before that and again after it would be counted twice by the view. So altered
    /// views are loaded anew, as at a start; for that moment they see no inserts.
    pub async fn migrate_alone(&self) -> Result<(), WarehouseError> {
        if self.bring_up().await? {
            return Ok(());
        }
        // All of them: whoever altered one may not have come to this.
        let altered: BTreeSet<&str> =
            MIGRATIONS.iter().flat_map(|migration| altered_views(migration.sql)).collect();
        for view in altered {
            let detach = format!("DETACH TABLE {view} {}", on_cluster(self.config()));
            within(self.database().query_raw(&detach).execute())
                .await
                .map_err(failed(format!("load {view} anew")))?;
            self.attach(view).await?;
        }
        Ok(())
    }

    /// Loads a view, unless it is loaded.
    async fn attach(&self, view: &str) -> Result<(), WarehouseError> {
        let attach = format!("ATTACH TABLE IF NOT EXISTS {view} {}", on_cluster(self.config()));
        within(self.database().query_raw(&attach).execute()).await.map_err(failed(format!("load {view}")))
    }

    /// Numbers of the migrations that this database has seen, in order.
    pub async fn schema_versions(&self) -> Result<Vec<u32>, WarehouseError> {
        let mut versions: Vec<u32> = self.applied().await?.into_iter().map(|row| row.version).collect();
        versions.dedup();
        Ok(versions)
    }

    /// Pretends that a migration was applied.
    #[cfg(feature = "testing")]
    pub async fn note_migration_for_tests(
        &self,
        version: u32,
        name: &str,
        checksum: &str,
    ) -> Result<(), WarehouseError> {
        self.note(vec![Applied { version, name: name.to_owned(), checksum: checksum.to_owned() }]).await
    }

    /// Forgets which migrations were applied, as if whoever made the schema had been ended before it could say so.
    #[cfg(feature = "testing")]
    pub async fn forget_migrations_for_tests(&self) -> Result<(), WarehouseError> {
        let forget = self.database().query_raw("TRUNCATE TABLE schema_migrations").execute();
        within(forget).await.map_err(failed("forget the migrations"))
    }

    /// Brings an empty database to an earlier version, a migration at a time, as binaries of those times did.
    #[cfg(feature = "testing")]
    pub async fn migrate_to_for_tests(&self, version: u32) -> Result<(), WarehouseError> {
        self.create_database().await?;
        for migration in MIGRATIONS.iter().filter(|migration| migration.version <= version) {
            self.apply(migration).await?;
        }
        Ok(())
    }

    /// The database, and in it the table of migrations.
    async fn create_database(&self) -> Result<(), WarehouseError> {
        let create =
            format!("CREATE DATABASE IF NOT EXISTS {} {}", self.config().database, on_cluster(self.config()));
        within(self.server().query_raw(&create).execute())
            .await
            .map_err(failed(format!("create database {}", self.config().database)))?;
        self.run(MIGRATIONS_TABLE, "create the table of migrations").await
    }

    async fn applied(&self) -> Result<Vec<Applied>, WarehouseError> {
        let rows = self.database().query_raw(read::APPLIED_MIGRATIONS).fetch_all::<Applied>();
        within(rows).await.map_err(failed("read the table of migrations"))
    }

    /// The names of the database's views.
    async fn views(&self) -> Result<Vec<String>, WarehouseError> {
        let views = self.database().query_raw(read::SCHEMA_VIEWS).fetch_all::<String>();
        within(views).await.map_err(failed("look for views"))
    }

    /// As [`Warehouse::applied`], of a schema that somebody may be making just now: for as long as it grows.
    async fn applied_soon(&self, mut views: usize) -> Result<Vec<Applied>, WarehouseError> {
        let mut until = Instant::now() + MAKING;
        loop {
            let applied = self.applied().await?;
            if !applied.is_empty() || Instant::now() >= until {
                return Ok(applied);
            }
            sleep(MAKING / 20).await;
            let there = self.views().await?.len();
            if there > views {
                (views, until) = (there, Instant::now() + MAKING);
            }
        }
    }

    async fn bring_to(&self, migration: &Migration, applied: &[Applied]) -> Result<(), WarehouseError> {
        let checksum = checksum(migration);
        let mut seen = false;
        for row in applied.iter().filter(|row| row.version == migration.version) {
            if row.checksum != checksum {
                return Err(WarehouseError::ChangedMigration {
                    version: migration.version,
                    name: migration.name.to_owned(),
                    expected: checksum,
                    found: row.checksum.clone(),
                });
            }
            seen = true;
        }
        if seen { Ok(()) } else { self.apply(migration).await }
    }

    /// Makes the schema of an empty database. Its views come last, each at once with its newest query: nobody has to load an altered view
    /// anew (see [`Warehouse::migrate_alone`]), and whoever inserts before they are all there is not one of ours. `left` are the views
    /// of somebody who was ended before all was there; nobody knows with which queries. Whether no view was altered.
    async fn create_schema(&self, left: &[String]) -> Result<bool, WarehouseError> {
        // Of the other nodes of a cluster nobody knows which views they have.
        let is_left = |name: &str| self.config().cluster.is_some() || left.iter().any(|left| left == name);
        let mut views: Vec<View<'_>> = Vec::new();
        for migration in MIGRATIONS {
            for statement in statements(migration.sql) {
                match ViewStatement::parse(statement) {
                    Some(ViewStatement::Create { name, head, query }) => {
                        views.push(View { name, head, query, altered: None });
                    }
                    Some(ViewStatement::Alter { name, query }) => {
                        for view in views.iter_mut().filter(|view| view.name == name) {
                            (view.query, view.altered) = (query, Some(statement));
                        }
                    }
                    None => self.run(statement, migration.name).await?,
                }
            }
        }
        let is_new = !views.iter().any(|view| is_left(view.name));
        if self.config().cluster.is_some() && !self.applied().await?.is_empty() {
            // Another of ours was here first, and its views may be in use already.
            return Ok(is_new);
        }
        for View { name, head, query, altered } in views {
            self.run(&format!("{head}{query}"), name).await?;
            if let Some(alter) = altered.filter(|_| is_left(name)) {
                self.run(alter, name).await?;
            }
        }
        // In one block: a schema half noted would be altered where it need not be.
        self.note(MIGRATIONS.iter().map(Applied::from).collect()).await?;
        tracing::info!(
            migrations = MIGRATIONS.len(),
            database = self.config().database,
            "created the schema"
        );
        Ok(is_new)
    }

    async fn apply(&self, migration: &Migration) -> Result<(), WarehouseError> {
        self.run(migration.sql, migration.name).await?;
        self.note(vec![Applied::from(migration)]).await?;
        tracing::info!(
            migration.version,
            migration.name,
            database = self.config().database,
            "applied a migration"
        );
        Ok(())
    }

    async fn note(&self, rows: Vec<Applied>) -> Result<(), WarehouseError> {
        let failure = failed("note which migrations are applied");
        let database = self.database();
        let note = async move {
            let mut insert = database.insert::<Applied>("schema_migrations").await?;
            for row in &rows {
                insert.write(row).await?;
            }
            insert.end().await
        };
        within(note).await.map_err(failure)
    }

    async fn run(&self, template: &str, what: &str) -> Result<(), WarehouseError> {
        let sql = render(template, self.config());
        for statement in statements(&sql) {
            within(self.database().query_raw(statement).execute())
                .await
                .map_err(failed(format!("apply migration {what}")))?;
        }
        Ok(())
    }
}

/// Fills in what differs between one server and a cluster.
pub(crate) fn render(template: &str, config: &WarehouseConfig) -> String {
    let replicated = if config.cluster.is_some() { "Replicated" } else { "" };
    template.replace("{on_cluster}", &on_cluster(config)).replace("{replicated}", replicated)
}

fn on_cluster(config: &WarehouseConfig) -> String {
    config.cluster.as_ref().map_or_else(String::new, |cluster| format!("ON CLUSTER {cluster}"))
}

/// The statements of a file: each ends with a semicolon at the end of a line.
pub(crate) fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

/// A view as it shall be: how it is made, and the last statement that changes one that was made before.
struct View<'a> {
    name: &'a str,
    head: &'a str,
    query: &'a str,
    altered: Option<&'a str>,
}

/// What a statement does to a view. Its first line that is no comment says it, whole; the query is what follows.
enum ViewStatement<'a> {
    Create { name: &'a str, head: &'a str, query: &'a str },
    Alter { name: &'a str, query: &'a str },
}

impl<'a> ViewStatement<'a> {
    fn parse(statement: &'a str) -> Option<Self> {
        let head = statement.lines().find(|line| !line.starts_with("--"))?;
        let (_, query) = statement.split_once(head)?;
        match head.split_whitespace().collect::<Vec<_>>()[..] {
            ["CREATE", "MATERIALIZED", "VIEW", "IF", "NOT", "EXISTS", name, .., "AS"] => {
                Some(Self::Create { name, head, query })
            }
            ["ALTER", "TABLE", name, .., "MODIFY", "QUERY"] => Some(Self::Alter { name, query }),
            _ => None,
        }
    }
}

/// The views whose queries a migration changes.
fn altered_views(sql: &str) -> impl Iterator<Item = &str> {
    statements(sql).filter_map(|statement| match ViewStatement::parse(statement)? {
        ViewStatement::Alter { name, .. } => Some(name),
        ViewStatement::Create { .. } => None,
    })
}

fn checksum(migration: &Migration) -> String {
    hex::encode(&Sha256::digest(migration.sql.as_bytes())[..8])
}
