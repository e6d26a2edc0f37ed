//! A PostgreSQL server of one's own: found on the machine, started on a Unix socket in a temporary directory, stopped when
//! dropped. `initdb` and `postgres` refuse to run as root, so as root they run as the package's user.

use sqlx::{Connection, Executor};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
pub struct Postgres {
    programs: PathBuf,
    directory: tempfile::TempDir,
    user: Option<(u32, u32)>,
}

impl Postgres {
    /// Initialises a cluster and starts it.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, with what to install, and when it does not start, with its log.
    pub async fn start() -> Self {
        let programs = find_programs();
        let directory = tempfile::Builder::new().prefix("ct-pg-").tempdir().unwrap();
        let server = Self { programs, user: unprivileged_user(directory.path()), directory };
        if let Some((uid, gid)) = server.user {
            std::os::unix::fs::chown(server.directory.path(), Some(uid), Some(gid)).unwrap();
        }
        std::fs::set_permissions(server.directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
        server
            .must_run("initdb", &["-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
        server.resume().await;
        server
    }

    /// Starts the stopped server and waits until it answers.
    pub async fn resume(&self) {
        let settings = format!(
            "-c listen_addresses='' -c unix_socket_directories={} -c fsync=off -c max_connections=200",
            self.directory.path().display()
        );
        let log = self.directory.path().join("log");
        self.must_run("pg_ctl", &["start", "-W", "-l", &log.display().to_string(), "-o", &settings]);
        let started = Instant::now();
        while let Err(error) = sqlx::PgConnection::connect(&self.url("postgres")).await {
            assert!(
                started.elapsed() < PATIENCE,
                "PostgreSQL does not answer: {error}\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills all connections and stops the server.
    pub fn stop(&self) {
        self.must_run("pg_ctl", &["stop", "-w", "-m", "immediate"]);
    }

    /// Creates a database and returns its URL.
    pub async fn create_database(&self, name: &str) -> String {
        let mut connection = sqlx::PgConnection::connect(&self.url("postgres")).await.unwrap();
        let statement = format!("CREATE DATABASE \"{name}\"");
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        self.url(name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.directory.path().display())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-D").arg(self.directory.path().join("data")).current_dir(self.directory.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn must_run(&self, program: &str, arguments: &[&str]) {
        // To a file, not a pipe: the server inherits it and would hold a pipe open for ever.
        let path = self.directory.path().join(format!("{program}.out"));
        let out = std::fs::File::create(&path).unwrap();
        let status = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .status()
            .unwrap();
        assert!(
            status.success(),
            "{program} failed ({status}):\n{}",
            std::fs::read_to_string(&path).unwrap_or_default()
        );
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be stopped already; nothing is to be saved either way.
        let _ = self
            .command("pg_ctl")
            .args(["stop", "-w", "-m", "immediate"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Where `initdb`, `postgres` and `pg_ctl` are: `PG_BIN`, the `PATH`, then Debian's place, newest first.
fn find_programs() -> PathBuf {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let on_path = std::env::var_os("PATH");
    let on_path = on_path.iter().flat_map(std::env::split_paths);
    let mut packaged: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    packaged.sort();
    let mut places = named.into_iter().chain(on_path).chain(packaged.into_iter().rev());
    let complete =
        |place: &PathBuf| ["initdb", "postgres", "pg_ctl"].iter().all(|name| place.join(name).is_file());
    places.find(complete).unwrap_or_else(|| {
        panic!(
            "PostgreSQL's server programs (initdb, postgres, pg_ctl) are not on this machine: install the Debian \
             package `postgresql`, or name their directory in PG_BIN"
        )
    })
}

/// As root, the user and group to run the server as; otherwise nobody else.
fn unprivileged_user(own: &Path) -> Option<(u32, u32)> {
    // Whoever runs this test owns the directory that it just made.
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(own).unwrap());
    if owner != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.first() == Some(&name)).then(|| (fields[2].parse().unwrap(), fields[3].parse().unwrap()))
        })
    };
    Some(
        find("postgres")
            .or_else(|| find("nobody"))
            .expect("a user `postgres` or `nobody` to run PostgreSQL as"),
    )
}
