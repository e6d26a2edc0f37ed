//! The real engine for tests of any crate: a child process on free ports, its data in a temporary directory, gone at drop.
//!
//! ```no_run
//! # async fn example() {
//! let engine = warehouse::testing::Engine::start().await;
//! let warehouse = engine.warehouse("control_tower").await; // migrated
//! # }
//! ```

#![expect(clippy::expect_used, clippy::panic, reason = "in a test, what cannot be set up must end it")]

use crate::client::{Warehouse, WarehouseConfig};
use crate::engine::{EngineConfig, Reader, find_library, searched_places};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const USER: &str = "control_tower";
const PASSWORD: &str = "a-password-for-tests-only";
const READER: &str = "control_tower_reader";
const READER_PASSWORD: &str = "another-password-for-tests";
const MEMORY_BYTES: u64 = 3 << 30;
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    config: EngineConfig,
    /// Its ports are its own as long as it lives, also between a stop and a restart.
    _ports: Ports,
    /// Dropped after the child was ended.
    dir: Option<tempfile::TempDir>,
}

impl Engine {
    /// Starts an engine on an empty directory and waits until it answers.
    ///
    /// # Panics
    /// When the library is missing (with the message that says how to get it) or the engine does not start.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("create a temporary directory");
        let mut engine = Self::start_in(dir.path()).await;
        engine.dir = Some(dir);
        engine
    }

    /// Starts an engine on a directory of the caller's, which stays.
    ///
    /// # Panics
    /// See [`Engine::start`].
    pub async fn start_in(path: &Path) -> Self {
        Self::start_with(path, MEMORY_BYTES).await
    }

    /// Starts an engine with this memory budget, bytes.
    ///
    /// # Panics
    /// See [`Engine::start`].
    pub async fn start_with(path: &Path, memory_bytes: u64) -> Self {
        let ports = Ports::take();
        let config = config(path, memory_bytes, &ports);
        let child = spawn(&config);
        let mut engine = Self { child, config, _ports: ports, dir: None };
        engine.wait_until_ready().await;
        engine
    }

    /// Where it is, for a client in `database`.
    pub fn client_config(&self, database: &str) -> WarehouseConfig {
        WarehouseConfig {
            url: format!("http://127.0.0.1:{}", self.config.http_port),
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            database: database.to_owned(),
            cluster: None,
        }
    }

    /// As [`Engine::client_config`], of the user that may only read.
    pub fn reader_config(&self, database: &str) -> WarehouseConfig {
        let (user, password) = (READER.to_owned(), READER_PASSWORD.to_owned());
        WarehouseConfig { user, password, ..self.client_config(database) }
    }

    /// A client in `database` (`control_tower` or a name that starts so), migrated.
    ///
    /// # Panics
    /// When the migration fails.
    pub async fn warehouse(&self, database: &str) -> Warehouse {
        let warehouse = Warehouse::connect(self.client_config(database));
        warehouse.migrate_alone().await.expect("migrate the test database");
        warehouse
    }

    /// Its configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once (SIGKILL), as a crash would.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the engine");
        self.child.wait().expect("wait for the engine");
    }

    /// Starts it again on the same directory and ports after [`Engine::kill`].
    ///
    /// # Panics
    /// See [`Engine::start`].
    pub async fn restart(&mut self) {
        self.child = spawn(&self.config);
        self.wait_until_ready().await;
    }

    /// Closes its standard input and waits for it to end by itself; whether it reported success.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn stop(&mut self) -> bool {
        drop(self.child.stdin.take());
        self.child.wait().expect("wait for the engine").success()
    }

    async fn wait_until_ready(&mut self) {
        let warehouse = Warehouse::connect(self.client_config("control_tower"));
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if warehouse.ping().await.is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("ask for the state of the engine") {
                panic!("the engine ended while it was starting ({status}); its log is above");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the engine did not answer within {START_TIMEOUT:?}");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A test is over: nothing of its data is needed, so the fast end is right.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Synthetic calls to measure with; see `queries/load/calls.sql`.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Calls in all.
    pub calls: u64,
    /// Tenants: `tenant-0` gets half of the calls, all of them share the rest.
    pub tenants: u32,
    /// Over which time they are spread evenly.
    pub range: contracts::reads::TimeRange,
}

impl Load {
    /// Inserts the calls, as spans; takes about 10 µs a call.
    ///
    /// # Panics
    /// When an insert fails.
    pub async fn insert(self, warehouse: &Warehouse) {
        const STEP: u64 = 250_000;
        for first in (0..self.calls).step_by(usize::try_from(STEP).expect("a small number")) {
            let insert = warehouse
                .database()
                .query_raw(crate::queries::LOAD_CALLS)
                .with_setting("max_partitions_per_insert_block", "0")
                .param("first", first)
                .param("count", STEP.min(self.calls - first))
                .param("total", self.calls)
                .param("from_ms", self.range.from_ms)
                .param("to_ms", self.range.to_ms)
                .param("tenants", self.tenants);
            insert.execute().await.expect("insert synthetic calls");
        }
    }
}

fn config(path: &Path, memory_bytes: u64, ports: &Ports) -> EngineConfig {
    let cache = std::env::home_dir().map(|home| home.join(".cache"));
    let library = searched_places(None, None, None, cache.as_deref());
    if let Err(error) = find_library(&library) {
        panic!("{error}");
    }
    EngineConfig {
        library,
        path: path.to_owned(),
        http_port: ports.first,
        tcp_port: ports.first + 1,
        memory_bytes,
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        database: "control_tower".to_owned(),
        reader: Some(Reader { user: READER.to_owned(), password: READER_PASSWORD.to_owned() }),
    }
}

/// Two ports that no other engine takes as long as this is held, in whatever process it runs.
#[derive(Debug)]
struct Ports {
    first: u16,
    _taken: File,
}

impl Ports {
    /// Below the range from which the system takes ports itself, and above those of whole towers under test.
    const RANGE: std::ops::Range<u16> = 30_800..32_700;

    fn take() -> Self {
        let locks = std::env::temp_dir().join("control-tower-test-ports");
        std::fs::create_dir_all(&locks).expect("create the directory of locks of ports");
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        for first in Self::RANGE.step_by(2) {
            let lock = File::create(locks.join(first.to_string())).expect("create a lock of ports");
            if lock.try_lock().is_ok() && is_free(first) && is_free(first + 1) {
                return Self { first, _taken: lock };
            }
        }
        panic!("no ports are free in {:?}", Self::RANGE);
    }
}

fn spawn(config: &EngineConfig) -> Child {
    let argument = serde_json::to_string(config).expect("write the configuration as JSON");
    Command::new(binary())
        .arg(argument)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("start the engine process")
}

/// The `warehouse-engine` binary of the same build. A test run of another crate alone does not build it: then this does.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("find the running test");
    // A test is TARGET/PROFILE/deps/name, an example or binary one or no level less deep.
    let candidates = test.ancestors().skip(1).take(2).map(|dir| dir.join("warehouse-engine"));
    let Some(found) = candidates.clone().find(|path| path.is_file()) else {
        build(&test);
        return candidates
            .clone()
            .find(|path| path.is_file())
            .expect("cargo built warehouse-engine beside the tests");
    };
    found
}

fn build(test: &Path) {
    let target = test.ancestors().nth(3).expect("a test lies in TARGET/PROFILE/deps");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "warehouse",
        "--features",
        "testing",
        "--bin",
        "warehouse-engine",
    ]);
    if test.ancestors().nth(2).is_some_and(|profile| profile.ends_with("release")) {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target);
    assert!(cargo.status().expect("run cargo").success(), "cargo could not build warehouse-engine");
}
