//! The connection: where ClickHouse is, and the settings that every statement carries.

use crate::error::{WarehouseError, failed};
use crate::queries::read;
use clickhouse::Client;
use clickhouse::query::Query;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a statement may take from our side, sending and waiting included, before it is given up as lost. Longer than
/// every limit that the engine itself enforces, so that its own, clearer error wins.
const GIVE_UP: Duration = Duration::from_mins(2);

/// Where ClickHouse is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarehouseConfig {
    /// Its HTTP interface, such as `http://127.0.0.1:8123`.
    pub url: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
    /// Database; created by the migrations when missing.
    pub database: String,
    /// Name of a cluster: the schema is then created `ON CLUSTER`, with replicated tables.
    pub cluster: Option<String>,
}

impl Default for WarehouseConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".to_owned(),
            user: "control_tower".to_owned(),
            password: String::new(),
            database: "control_tower".to_owned(),
            cluster: None,
        }
    }
}

impl fmt::Debug for WarehouseConfig {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarehouseConfig")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl WarehouseConfig {
    /// Checks what can be checked without a connection.
    pub fn validate(&self) -> Result<(), WarehouseError> {
        if !(self.url.starts_with("http://") || self.url.starts_with("https://")) {
            return Err(WarehouseError::Invalid {
                field: "clickhouse_url",
                value: self.url.clone(),
                expected: "the URL of ClickHouse's HTTP interface, such as http://127.0.0.1:8123",
            });
        }
        check_identifier("database", &self.database)?;
        if let Some(cluster) = &self.cluster {
            check_identifier("cluster", cluster)?;
        }
        Ok(())
    }
}

/// Names that go into DDL, where parameters cannot: letters, digits and underscores only.
fn check_identifier(field: &'static str, value: &str) -> Result<(), WarehouseError> {
    let valid = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !value.as_bytes()[0].is_ascii_digit();
    if valid {
        return Ok(());
    }
    Err(WarehouseError::Invalid {
        field,
        value: value.chars().take(80).collect(),
        expected: "1 to 64 of A-Z a-z 0-9 and _, not starting with a digit",
    })
}

/// A handle on ClickHouse; cloning is cheap. Nothing is sent before the first call.
#[derive(Clone)]
pub struct Warehouse {
    client: Client,
    config: WarehouseConfig,
    /// Held by a read that may go over single calls at length, so that such reads take turns.
    turn: Arc<Semaphore>,
}

impl fmt::Debug for Warehouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Warehouse").field(&self.config).finish()
    }
}

impl Warehouse {
    /// A handle for this configuration.
    pub fn connect(config: WarehouseConfig) -> Self {
        let client = Client::default()
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(&config.password)
            .with_compression(clickhouse::Compression::None)
            .with_setting("wait_end_of_query", "0");
        Self { client, config, turn: Arc::new(Semaphore::new(1)) }
    }

    /// The configuration.
    pub fn config(&self) -> &WarehouseConfig {
        &self.config
    }

    /// Whether ClickHouse answers and lets us in.
    pub async fn ping(&self) -> Result<(), WarehouseError> {
        let answer = self.server().query_raw(read::PING).fetch_one::<u8>();
        within(answer).await.map(|_| ()).map_err(failed("ping ClickHouse"))
    }

    /// The version that the engine or server reports, such as `26.7.3.1`.
    pub async fn server_version(&self) -> Result<String, WarehouseError> {
        let answer = self.server().query_raw(read::SERVER_VERSION).fetch_one::<String>();
        within(answer).await.map_err(failed("ask ClickHouse for its version"))
    }

    /// The client outside any database: for what must work before ours exists.
    pub(crate) fn server(&self) -> &Client {
        &self.client
    }

    /// The client in our database.
    pub(crate) fn database(&self) -> Client {
        self.client.clone().with_database(&self.config.database)
    }

    /// Makes a call when it is its turn among those that may take seconds and much memory. Whoever gives up waiting leaves the queue.
    pub(crate) async fn in_turn<T: Send + 'static>(
        &self,
        call: impl Future<Output = clickhouse::error::Result<T>> + Send + 'static,
    ) -> clickhouse::error::Result<T> {
        let turn = tokio::time::timeout(GIVE_UP, Arc::clone(&self.turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(clickhouse::error::Error::TimedOut) };
        within(async move {
            let answer = call.await;
            drop(turn);
            answer
        })
        .await
    }

    /// A read, bounded: an answer that would take more than this is an error, never a slow or dead engine.
    pub(crate) fn read(&self, sql: &'static str, limits: Limits) -> Query {
        bounded(&self.database(), sql, limits)
    }

    /// As [`Warehouse::read`], outside any database.
    pub(crate) fn server_read(&self, sql: &'static str, limits: Limits) -> Query {
        bounded(self.server(), sql, limits)
    }
}

fn bounded(client: &Client, sql: &'static str, limits: Limits) -> Query {
    client
        .query_raw(sql)
        .with_setting("readonly", "2")
        .with_setting("priority", limits.priority.to_string())
        .with_setting("max_execution_time", limits.seconds.to_string())
        .with_setting("max_memory_usage", limits.memory_bytes.to_string())
        .with_setting("max_bytes_before_external_group_by", (limits.memory_bytes / 2).to_string())
        .with_setting("max_result_rows", limits.result_rows.to_string())
        .with_setting("result_overflow_mode", "throw")
        .with_setting("max_bytes_to_read", limits.bytes_to_read.to_string())
}

/// What one read may use at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Seconds in the engine.
    pub(crate) seconds: u32,
    /// Bytes of memory in the engine.
    pub(crate) memory_bytes: u64,
    /// Rows of the answer.
    pub(crate) result_rows: u64,
    /// Uncompressed bytes that may be read from disk.
    pub(crate) bytes_to_read: u64,
    /// A read lets those with a smaller number go first.
    pub(crate) priority: u8,
}

impl Limits {
    /// For aggregates and lists of narrow rows.
    pub(crate) const NARROW: Self = Self {
        seconds: 20,
        memory_bytes: 512 << 20,
        result_rows: 100_000,
        bytes_to_read: 64 << 30,
        priority: 1,
    };
    /// For what single calls are read for at length: whoever asks for a page goes first.
    pub(crate) const LONG: Self = Self { memory_bytes: 1 << 30, priority: 2, ..Self::NARROW };
    /// For reads of message texts.
    pub(crate) const TEXT: Self = Self {
        seconds: 30,
        memory_bytes: 512 << 20,
        result_rows: 100_000,
        bytes_to_read: 256 << 30,
        priority: 1,
    };
}

/// Bounds a call in time even if ClickHouse never answers. It goes on to its end though nobody waits for it any more: an engine that is short
/// of memory aborts when a client hangs up on it, and it does not stop working on a query for that anyway.
pub(crate) async fn within<T: Send + 'static>(
    call: impl Future<Output = clickhouse::error::Result<T>> + Send + 'static,
) -> clickhouse::error::Result<T> {
    let call = tokio::spawn(call);
    let lost = call.abort_handle();
    match tokio::time::timeout(GIVE_UP, call).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(ended)) => Err(clickhouse::error::Error::Custom(format!("the call ended early: {ended}"))),
        Err(_elapsed) => {
            lost.abort();
            Err(clickhouse::error::Error::TimedOut)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_goes_on_though_nobody_waits_for_it() {
        let (send, done) = tokio::sync::oneshot::channel();
        let call = within(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            send.send("done").unwrap();
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
        assert_eq!(done.await, Ok("done"));
    }

    #[test]
    fn a_bad_configuration_names_the_field() {
        let config = WarehouseConfig { url: "tcp://x".to_owned(), ..WarehouseConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("clickhouse_url \"tcp://x\""));
        let config = WarehouseConfig { database: "a; DROP".to_owned(), ..WarehouseConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("database"));
        WarehouseConfig::default().validate().unwrap();
    }

    #[test]
    fn the_password_is_not_shown() {
        let config = WarehouseConfig { password: "hunter2".to_owned(), ..WarehouseConfig::default() };
        assert!(!format!("{config:?} {:?}", Warehouse::connect(config.clone())).contains("hunter2"));
    }
}
