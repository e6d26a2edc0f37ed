//! The embedded ClickHouse engine: the real engine as a shared library, run in a process of its own that listens on
//! ClickHouse's ordinary interfaces on loopback.
//!
//! A start: [`library`](find_library) is found and checked, the data directory is locked, the engine's configuration is
//! written beside the data, the library is loaded and handed a command line whose last query lasts until the end of
//! standard input. So the engine stops when whoever started it closes that pipe, or dies. It can be started once per
//! process; a restart is a new process.

mod dedup;
mod files;
mod library;
mod lock;

pub use library::{ENGINE_VERSION, find_library, searched_places};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the engine needs to know.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// Candidates for the library, best first; see [`searched_places`].
    pub library: Vec<PathBuf>,
    /// Directory of its data; created when missing.
    pub path: PathBuf,
    /// Port of ClickHouse's HTTP interface on 127.0.0.1.
    pub http_port: u16,
    /// Port of ClickHouse's native interface on 127.0.0.1.
    pub tcp_port: u16,
    /// Memory that the process may come to use, bytes. The engine's own limit is set to half of it, for it is overshot.
    pub memory_bytes: u64,
    /// User for clients.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// Database that the user may create and use, together with any whose name starts with it.
    pub database: String,
    /// Who may only read these databases: the console, dashboards.
    pub reader: Option<Reader>,
}

/// A user that may read and nothing else.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Reader {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Debug for EngineConfig {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("library", &self.library)
            .field("path", &self.path)
            .field("http_port", &self.http_port)
            .field("tcp_port", &self.tcp_port)
            .field("memory_bytes", &self.memory_bytes)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

/// Least memory that the engine can work with.
pub const MEMORY_MIN: u64 = 512 << 20;

/// Why the engine did not start, or stopped on its own.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// This machine cannot run it.
    #[error(
        "the embedded ClickHouse engine cannot run here: {reason}. Set store.clickhouse_url to a ClickHouse server instead"
    )]
    Unsupported {
        /// What is missing.
        reason: String,
    },
    /// The library is nowhere.
    #[error(
        "the embedded ClickHouse engine (libchdb.so {ENGINE_VERSION}) was not found. Looked for: {}. \
         Run `cargo xtask engine` to download it, set store.engine_library (CONTROL_TOWER__STORE__ENGINE_LIBRARY) to the file, \
         or set store.clickhouse_url to a ClickHouse server",
        list(searched)
    )]
    NotFound {
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// The file is there but cannot be loaded.
    #[error("cannot load the ClickHouse engine {}: {reason}", path.display())]
    Load {
        /// Which file.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// The file is another version than the one this binary is made for.
    #[error(
        "the ClickHouse engine {} is version {found}, expected {ENGINE_VERSION}: run `cargo xtask engine` to download the right one",
        path.display()
    )]
    WrongVersion {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// Another process uses the directory.
    #[error("{} is in use by process {holder}: stop it first, or choose another data directory", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Id of the process that holds it, or `unknown`.
        holder: String,
    },
    /// The disk has no space left.
    #[error("the disk of {} is full: free some space (the engine keeps {} MiB in reserve)", path.display(), files::KEEP_FREE_BYTES >> 20)]
    DiskFull {
        /// The data directory.
        path: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A port is taken.
    #[error("store.{key} {port} on 127.0.0.1 cannot be opened: {source}")]
    Port {
        /// Key of the configuration.
        key: &'static str,
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// A value of the configuration cannot be used.
    #[error("store.{field} {value:?} is not valid: expected {expected}")]
    Invalid {
        /// Which key.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// It ended without ever answering.
    #[error("the ClickHouse engine stopped while it was starting: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}

impl EngineConfig {
    /// Checks what can be checked without touching the machine.
    pub fn validate(&self) -> Result<(), EngineError> {
        check_name("user", &self.user)?;
        check_name("database", &self.database)?;
        check_password("password", &self.password)?;
        if let Some(reader) = &self.reader {
            check_name("reader_user", &reader.user)?;
            check_password("reader_password", &reader.password)?;
            if reader.user == self.user {
                return Err(EngineError::Invalid {
                    field: "reader_user",
                    value: reader.user.clone(),
                    expected: "another name than store.user",
                });
            }
        }
        if self.memory_bytes < MEMORY_MIN {
            let value = self.memory_bytes.to_string();
            return Err(EngineError::Invalid {
                field: "memory",
                value,
                expected: "at least 536870912 bytes (512 MiB)",
            });
        }
        for (field, port) in [("http_port", self.http_port), ("tcp_port", self.tcp_port)] {
            if port == 0 {
                return Err(EngineError::Invalid {
                    field,
                    value: "0".to_owned(),
                    expected: "a port from 1 to 65535",
                });
            }
        }
        Ok(())
    }
}

fn check_name(field: &'static str, value: &str) -> Result<(), EngineError> {
    let valid = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && value != "default";
    let expected = "1 to 64 of A-Z a-z 0-9 and _, and not default";
    if valid { Ok(()) } else { Err(EngineError::Invalid { field, value: value.to_owned(), expected }) }
}

fn check_password(field: &'static str, value: &str) -> Result<(), EngineError> {
    let characters = value.chars().count();
    if value.len() >= 16 {
        return Ok(());
    }
    let value = format!("({characters} characters)");
    Err(EngineError::Invalid { field, value, expected: "at least 16 characters" })
}

/// Runs the engine in this process until standard input ends. Call it on the main thread, once.
///
/// It is ready when `GET /ping` on the HTTP port answers 200. Returns `Ok` after an orderly stop; an error names what to do.
pub fn run(config: &EngineConfig) -> Result<(), EngineError> {
    config.validate()?;
    library::check_machine()?;
    let path = find_library(&config.library)?;
    let _lock = lock::acquire(&config.path)?;
    for (key, port) in [("http_port", config.http_port), ("tcp_port", config.tcp_port)] {
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|source| EngineError::Port {
            key,
            port,
            source,
        })?;
    }
    let forgotten = dedup::forget_missing_parts(&config.path)?;
    if forgotten > 0 {
        tracing::warn!(
            engine.records = forgotten,
            "took back records of parts that the last run did not finish: their batches can be sent again"
        );
    }
    let config_file = files::prepare(config)?;
    let library = library::Library::load(&path)?;
    tracing::info!(
        engine.library = %path.display(),
        engine.path = %config.path.display(),
        engine.http_port = config.http_port,
        engine.memory_bytes = config.memory_bytes,
        "starting the ClickHouse engine"
    );
    let started = Instant::now();
    let ready = watch_until_ready(config.http_port);
    let outcome = library.run_command_line(&command_line(config, &config_file));
    let ready = ready.is_finished() && ready.join().unwrap_or(false);
    match outcome {
        Ok(()) if ready => {
            tracing::info!(engine.seconds = started.elapsed().as_secs(), "the ClickHouse engine stopped");
            Ok(())
        }
        Ok(()) => {
            Err(EngineError::Failed { reason: "it gave no reason; see its log lines above".to_owned() })
        }
        Err(reason) if reason.contains("No space left on device") => {
            Err(EngineError::DiskFull { path: config.path.clone() })
        }
        Err(reason) => Err(EngineError::Failed { reason }),
    }
}

/// Waits for the listener on a thread, so that a start that fails is told from a stop that was asked for.
fn watch_until_ready(port: u16) -> std::thread::JoinHandle<bool> {
    std::thread::spawn(move || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let started = Instant::now();
        while started.elapsed() < Duration::from_mins(2) {
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                tracing::info!(
                    engine.start_ms = started.elapsed().as_millis(),
                    "the ClickHouse engine is ready"
                );
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        false
    })
}

fn command_line(config: &EngineConfig, config_file: &std::path::Path) -> Vec<String> {
    let mut line = vec!["clickhouse".to_owned()];
    let mut option = |name: &str, value: String| line.extend([name.to_owned(), value]);
    option("--path", config.path.display().to_string());
    option("--config-file", config_file.display().to_string());
    option("--listen_host", Ipv4Addr::LOCALHOST.to_string());
    option("--http_port", config.http_port.to_string());
    option("--tcp_port", config.tcp_port.to_string());
    option("--log-level", "warning".to_owned());
    option("--query", crate::queries::engine::SERVE.to_owned());
    line
}

#[cfg(test)]
mod tests;
