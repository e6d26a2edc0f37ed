//! Opening the database and the two kinds of transaction: a write, which bumps the version, and a consistent read.
//!
//! One SQL text serves both backends through `sqlx::AnyPool`; what differs between them stands in this file.

use crate::repositories::{
    AdminKeys, Annotations, ApiKeys, Audit, Caches, Change, Documents, Experiments, Judging, Models, Prices,
    Prompts, Providers, Routes, Sessions, Settings, Tenants, Users,
};
use crate::snapshot::Kept;
use crate::{Actor, Compilers, ControlError, migrations};
use contracts::policy::Snapshot;
use sqlx::any::{Any, AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection, Row, SqlSafeStr, SqlStr, Transaction};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the schema's migrations do.
const MIGRATE: &str = "bring its schema up to date";

/// How long a caller waits for a connection or, in SQLite, for another writer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Wait for another writer, and mind the references between tables.
const ON_EACH_SQLITE_CONNECTION: &str = "PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON";

/// Neither wait for ever for another writer, nor make others wait for one that died in the middle.
const ON_EACH_POSTGRES_CONNECTION: &str = "SET lock_timeout = '10s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'";

/// Notes a change. Writers queue at the version's row, so nobody else takes the same number. The time is the database's own: one clock for
/// all who write, and nobody has to bring one along.
const NOTE_SQLITE: &str = "INSERT INTO audit (id, at, actor, action, kind, tenant_id, name, before, after)
    SELECT COALESCE(MAX(id), 0) + 1, CAST(unixepoch('now', 'subsec') * 1000 AS BIGINT) * 1000000,
           $1, $2, $3, $4, $5, $6, $7 FROM audit";
const NOTE_POSTGRES: &str = "INSERT INTO audit (id, at, actor, action, kind, tenant_id, name, before, after)
    SELECT COALESCE(MAX(id), 0) + 1, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) * 1000,
           CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT),
           CAST($6 AS TEXT), CAST($7 AS TEXT) FROM audit";

/// The control database. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct Control {
    db: Db,
}

/// The pool and what differs between backends.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pool: AnyPool,
    backend: Backend,
    actor: Actor,
    compilers: Compilers,
    kept: Arc<Kept>,
}

/// What a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// A transaction in progress. Dropped without commit it is rolled back.
pub(crate) type Tx = Transaction<'static, Any>;

impl Control {
    /// Opens `sqlite:///path/control.db` (created with its directory, readable by its owner alone) or
    /// `postgres://user:password@host/database`, and brings its schema up to date. Several processes may do so at once.
    pub async fn open(url: &str) -> Result<Self, ControlError> {
        sqlx::any::install_default_drivers();
        let db = match Target::parse(url)? {
            Target::Sqlite(path) => open_sqlite(&path).await?,
            Target::Postgres(url) => open_postgres(&url).await?,
        };
        Ok(Self { db })
    }

    /// The version of what snapshots show; grows with each change.
    pub async fn version(&self) -> Result<u64, ControlError> {
        let row = sqlx::query("SELECT version FROM control_version WHERE id = 1")
            .fetch_one(self.db.pool())
            .await
            .map_err(failed("read the version"))?;
        let version: i64 = row.try_get(0).map_err(failed("read the version"))?;
        Ok(version.unsigned_abs())
    }

    /// Everything admission and routing need, as of one version. A provider whose credential cannot be resolved is in it
    /// without credential; [`Control::load`] tells which.
    pub async fn snapshot(&self) -> Result<Snapshot, ControlError> {
        Ok(self.load().await?.snapshot)
    }

    /// The snapshot and what is wrong with it.
    pub async fn load(&self) -> Result<crate::Loaded, ControlError> {
        crate::snapshot::load(&self.db).await
    }

    /// The same database, on behalf of `actor`: whoever the audit log is to name. Without that it names `system`.
    #[must_use]
    pub fn as_actor(&self, actor: Actor) -> Self {
        Self { db: Db { actor, ..self.db.clone() } }
    }

    /// The same database, in which only policy is written that these compile. Without them policy is taken uncompiled, and the weights of
    /// experiments are those that were written.
    #[must_use]
    pub fn compiling(&self, compilers: Compilers) -> Self {
        Self { db: Db { compilers, ..self.db.clone() } }
    }

    /// Closes all connections, here and in every clone.
    pub async fn close(&self) {
        self.db.pool.close().await;
    }

    /// Tenants.
    pub fn tenants(&self) -> Tenants {
        Tenants::new(self.db.clone())
    }

    /// API keys.
    pub fn keys(&self) -> ApiKeys {
        ApiKeys::new(self.db.clone())
    }

    /// Providers.
    pub fn providers(&self) -> Providers {
        Providers::new(self.db.clone())
    }

    /// Models.
    pub fn models(&self) -> Models {
        Models::new(self.db.clone())
    }

    /// Routes.
    pub fn routes(&self) -> Routes {
        Routes::new(self.db.clone())
    }

    /// Policy documents: plans, budgets, pools, cascades, caches, guardrails and experiments.
    pub fn documents(&self) -> Documents {
        Documents::new(self.db.clone())
    }

    /// Caches: doing with what they keep.
    pub fn caches(&self) -> Caches {
        Caches::new(self.db.clone())
    }

    /// Experiments: whether they run, and what they deal.
    pub fn experiments(&self) -> Experiments {
        Experiments::new(self.db.clone())
    }

    /// Prompts.
    pub fn prompts(&self) -> Prompts {
        Prompts::new(self.db.clone())
    }

    /// Who changed what.
    pub fn audit(&self) -> Audit {
        Audit::new(self.db.clone())
    }

    /// Prices.
    pub fn prices(&self) -> Prices {
        Prices::new(self.db.clone())
    }

    /// Users of the console.
    pub fn users(&self) -> Users {
        Users::new(self.db.clone())
    }

    /// Their sessions.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.db.clone())
    }

    /// Keys of the admin API.
    pub fn admin_keys(&self) -> AdminKeys {
        AdminKeys::new(self.db.clone())
    }

    /// What evaluators share while they judge.
    pub fn judging(&self) -> Judging {
        Judging::new(self.db.clone())
    }

    /// Grows with what is measured of experiments, of which the version does not tell.
    pub(crate) async fn measured_mark(&self) -> Result<i64, ControlError> {
        crate::repositories::measured_mark(&self.db).await
    }

    /// Calls that people are asked to label.
    pub fn annotations(&self) -> Annotations {
        Annotations::new(self.db.clone())
    }

    /// Named texts, such as the keys that services share.
    pub fn settings(&self) -> Settings {
        Settings::new(self.db.clone())
    }
}

impl Db {
    fn new(pool: AnyPool, backend: Backend) -> Self {
        Self { pool, backend, actor: Actor::system(), compilers: Compilers::NONE, kept: Arc::default() }
    }

    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Who makes changes through this handle.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What policy must pass before it is written.
    pub(crate) fn compilers(&self) -> &Compilers {
        &self.compilers
    }

    /// What the last snapshot held, for the next one to keep.
    pub(crate) fn kept(&self) -> Arc<Kept> {
        self.kept.clone()
    }

    /// Starts a change. The version is bumped first: its row is the lock that makes writers queue, so what a writer
    /// checks stays true until it commits.
    pub(crate) async fn write(&self) -> Result<Tx, ControlError> {
        let mut tx = self.write_unversioned().await?;
        sqlx::query("UPDATE control_version SET version = version + 1 WHERE id = 1")
            .execute(&mut *tx)
            .await
            .map_err(failed("bump the version"))?;
        Ok(tx)
    }

    /// Starts a change of what shows in no snapshot: the version stays.
    pub(crate) async fn write_unversioned(&self) -> Result<Tx, ControlError> {
        let begin: SqlStr = match self.backend {
            Backend::Sqlite => "BEGIN IMMEDIATE".into_sql_str(),
            Backend::Postgres => "BEGIN".into_sql_str(),
        };
        self.pool.begin_with(begin).await.map_err(failed("begin a change"))
    }

    /// Commits what [`Db::write`] began, and notes in the audit log what it was. There is no other way to commit it.
    pub(crate) async fn commit(&self, mut tx: Tx, change: Change) -> Result<(), ControlError> {
        self.note(&mut tx, change).await?;
        tx.commit().await.map_err(failed("commit a change"))
    }

    /// Notes one of several changes that a transaction makes: all but the one that it is committed with.
    pub(crate) async fn note(&self, tx: &mut Tx, change: Change) -> Result<(), ControlError> {
        let note = match self.backend {
            Backend::Sqlite => NOTE_SQLITE,
            Backend::Postgres => NOTE_POSTGRES,
        };
        sqlx::query(note)
            .bind(self.actor.as_str())
            .bind(change.action)
            .bind(change.kind)
            .bind(change.tenant)
            .bind(change.name)
            .bind(change.before.map(|value| value.to_string()))
            .bind(change.after.map(|value| value.to_string()))
            .execute(&mut **tx)
            .await
            .map_err(failed("note a change"))?;
        Ok(())
    }

    /// Starts a read whose statements all see the same state.
    pub(crate) async fn read(&self) -> Result<Tx, ControlError> {
        let begin: SqlStr = match self.backend {
            Backend::Sqlite => "BEGIN".into_sql_str(),
            Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".into_sql_str(),
        };
        self.pool.begin_with(begin).await.map_err(failed("begin a read"))
    }
}

/// The version as `tx` sees it: in a change, the one that it makes.
pub(crate) async fn version(tx: &mut Tx) -> Result<u64, ControlError> {
    let row = sqlx::query("SELECT version FROM control_version WHERE id = 1")
        .fetch_one(&mut **tx)
        .await
        .map_err(failed("read the version"))?;
    let version: i64 = row.try_get(0).map_err(failed("read the version"))?;
    Ok(version.unsigned_abs())
}

/// Wraps a database error with what was being done.
pub(crate) fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> ControlError {
    move |source| ControlError::Database { action, source }
}

/// Where a URL leads.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Target {
    /// The URL may hold a password, so no error repeats it.
    fn parse(url: &str) -> Result<Self, ControlError> {
        let expected = "expected sqlite:///path/control.db or postgres://user:password@host:port/database";
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.contains(":memory:") || path.contains(['?', '#']) {
                return Err(ControlError::Url(format!(
                    "{url:?} names no file: {expected}, without parameters; a database in memory would not be shared"
                )));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        match Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "postgres" | "postgresql") => {
                Ok(Self::Postgres(url.to_owned()))
            }
            Ok(parsed) => {
                Err(ControlError::Url(format!("scheme {:?} is not supported: {expected}", parsed.scheme())))
            }
            Err(reason) => Err(ControlError::Url(format!("not a URL ({reason}): {expected}"))),
        }
    }
}

async fn open_sqlite(path: &Path) -> Result<Db, ControlError> {
    let path = path.to_owned();
    let lock = {
        let path = path.clone();
        // The lock of another process that migrates may take a while: not on an async thread.
        tokio::task::spawn_blocking(move || prepare_file(&path))
            .await
            .map_err(|error| open_failed("prepare its file", error))??
    };
    let options = any_options(&sqlite_url(&path)?)?;
    let opening = format!("open {}", path.display());
    let mut first = connect(&options, &opening).await?;
    // The journal mode is kept in the file; the rest must be said on each connection.
    sqlx::raw_sql(ON_EACH_SQLITE_CONNECTION)
        .execute(&mut first)
        .await
        .map_err(|e| open_failed(&opening, e))?;
    sqlx::raw_sql("PRAGMA journal_mode = WAL")
        .execute(&mut first)
        .await
        .map_err(|e| open_failed(&opening, e))?;
    first.close().await.map_err(|e| open_failed(&opening, e))?;
    let pool = AnyPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(ON_EACH_SQLITE_CONNECTION).execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    migrations::run(&pool, Backend::Sqlite).await.map_err(|error| open_failed(MIGRATE, error))?;
    drop(lock);
    Ok(Db::new(pool, Backend::Sqlite))
}

/// Makes sure that the file exists and that only its owner can read it, and takes the lock under which it is migrated:
/// `SQLite` has no lock of its own for that, and all roles of a tower start at once.
fn prepare_file(path: &Path) -> Result<File, ControlError> {
    let failed = |what: &str| {
        let action = format!("{what} {}", path.display());
        move |error: std::io::Error| open_failed(action.clone(), error)
    };
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed("open the lock of"))?;
    lock.lock().map_err(failed("lock"))?;
    // An existing database must not be opened here: closing it again would drop this process's locks on it (POSIX).
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let mode = std::fs::metadata(path).map_err(failed("examine"))?.permissions().mode();
            if mode & 0o077 != 0 {
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))
                    .map_err(failed("restrict the permissions of"))?;
            }
        }
        Err(error) => return Err(failed("create")(error)),
    }
    Ok(lock)
}

/// A URL that survives spaces, `?`, `#` and `%` in the path.
fn sqlite_url(path: &Path) -> Result<String, ControlError> {
    let absolute = std::path::absolute(path)
        .map_err(|error| open_failed(format!("find the absolute path of {}", path.display()), error))?;
    let url = Url::from_file_path(&absolute)
        .map_err(|()| ControlError::Url(format!("{} is not a path that fits a URL", absolute.display())))?;
    Ok(format!("sqlite://{}?mode=rw", url.path()))
}

async fn open_postgres(url: &str) -> Result<Db, ControlError> {
    let options = any_options(url)?;
    let action = "connect to PostgreSQL";
    connect(&options, action).await?.close().await.map_err(|error| open_failed(action, error))?;
    let pool = AnyPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(ON_EACH_POSTGRES_CONNECTION).execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    migrations::run(&pool, Backend::Postgres).await.map_err(|error| open_failed(MIGRATE, error))?;
    Ok(Db::new(pool, Backend::Postgres))
}

/// A connection outside the pool, to see that there can be one: a pool would try again until its patience ends and then
/// hide why it failed.
async fn connect(options: &AnyConnectOptions, action: &str) -> Result<AnyConnection, ControlError> {
    match tokio::time::timeout(PATIENCE, AnyConnection::connect_with(options)).await {
        Ok(connection) => connection.map_err(|error| open_failed(action, error)),
        Err(elapsed) => Err(open_failed(action, elapsed)),
    }
}

fn any_options(url: &str) -> Result<AnyConnectOptions, ControlError> {
    AnyConnectOptions::from_str(url).map_err(|error| open_failed("understand its URL", error))
}

fn open_failed(
    action: impl Into<String>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ControlError {
    ControlError::Open { action: action.into(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_a_file_or_to_a_server() {
        assert_eq!(Target::parse("sqlite:///a/b.db").unwrap(), Target::Sqlite("/a/b.db".into()));
        assert_eq!(Target::parse("sqlite://b.db").unwrap(), Target::Sqlite("b.db".into()));
        assert_eq!(Target::parse("sqlite:b.db").unwrap(), Target::Sqlite("b.db".into()));
        assert!(matches!(Target::parse("postgresql://u@h/d").unwrap(), Target::Postgres(_)));
    }

    #[test]
    fn a_bad_url_says_what_is_expected_and_hides_passwords() {
        for url in
            ["sqlite:", "sqlite::memory:", "sqlite://a.db?mode=ro", "mysql://root:hunter2@h/d", "hunter2"]
        {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains("expected sqlite:///path/control.db"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn odd_paths_survive_the_url() {
        assert_eq!(
            sqlite_url(Path::new("/a b/c?d#e%.db")).unwrap(),
            "sqlite:///a%20b/c%3Fd%23e%25.db?mode=rw"
        );
    }
}
