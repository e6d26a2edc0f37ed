//! The connection to Redis, and the scripts.
//!
//! A connection is never repaired, only replaced: after any failure nobody knows which steps were taken, and every group joins
//! again over the new one, with all it has in its books.

use crate::metrics::Metrics;
use contracts::Usd;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub(super) struct Connected {
    /// Tells it from earlier ones.
    pub(super) generation: u64,
    /// The life of the server.
    pub(super) run: String,
    /// When that server opens, as its own clock counts.
    pub(super) open: String,
    connection: MultiplexedConnection,
}

/// Connects, and keeps the connection.
#[derive(Debug)]
pub(super) struct Wire {
    client: Client,
    timeout: Duration,
    current: Mutex<Current>,
    metrics: Arc<Metrics>,
    pub(super) scripts: Scripts,
}

#[derive(Debug, Default)]
struct Current {
    generation: u64,
    /// No connection is made or used any more: what a partition of the network does, or death.
    #[cfg(test)]
    is_cut: bool,
    connected: Option<Arc<Connected>>,
}

/// No answer, or one that says that nothing could be done: the connection is given up, unless only a look was late.
#[derive(Debug)]
pub(super) struct Failed;

/// What runs within Redis.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) hello: Script,
    pub(super) join: Script,
    pub(super) take: Script,
    pub(super) shift: Script,
    pub(super) grant: Script,
    pub(super) beat: Script,
    pub(super) sweep: Script,
    pub(super) read: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("lua/prelude.lua"), include_str!(concat!("lua/", $name, ".lua"))))
    };
}

impl Scripts {
    fn new() -> Self {
        Self {
            hello: script!("hello"),
            join: script!("join"),
            take: script!("take"),
            shift: script!("shift"),
            grant: script!("grant"),
            beat: script!("beat"),
            sweep: script!("sweep"),
            read: script!("read"),
        }
    }
}

/// Keys and arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<String>,
}

impl Wire {
    pub(super) fn new(client: Client, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { client, timeout, current: Mutex::default(), metrics, scripts: Scripts::new() }
    }

    /// The connection, if there is one.
    pub(super) fn get(&self) -> Option<Arc<Connected>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).connected.clone()
    }

    /// Gives a connection up.
    pub(super) fn give_up(&self, generation: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.connected.as_ref().is_some_and(|connected| connected.generation == generation) {
            current.connected = None;
        }
    }

    #[cfg(test)]
    pub(super) fn cut(&self, is_cut: bool) {
        let mut current = self.current.lock().unwrap();
        current.is_cut = is_cut;
        current.connected = None;
    }

    /// Makes a connection, and learns which life of the server it leads to. `run_key` is where the server keeps that.
    pub(super) async fn connect(&self, run_key: &str, lease: Duration) -> Result<(), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        let field = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .unwrap_or_default()
                .trim()
        };
        let policy = field("maxmemory_policy");
        if !policy.is_empty() && policy != "noeviction" {
            tracing::warn!(policy, "Redis may evict budgets: set maxmemory-policy to noeviction");
        }
        let run = field("run_id").to_owned();
        let mut hello = self.scripts.hello.prepare_invoke();
        hello.key(run_key).arg(&run).arg(millis(lease));
        let reply: Vec<String> = hello.invoke_async(&mut connection).await?;
        if reply.first().is_some_and(|said| said == "NEW") {
            self.metrics.redis_restarts.inc();
            tracing::warn!(
                "Redis was restarted or is new: budgets open when every gateway has had time to join"
            );
        }
        let open = reply.get(1).cloned().unwrap_or_default();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        if current.is_cut {
            return Err(std::io::Error::other("it is cut").into());
        }
        current.generation += 1;
        let generation = current.generation;
        current.connected = Some(Arc::new(Connected { generation, run, open, connection }));
        Ok(())
    }

    /// Runs a script.
    pub(super) async fn call(
        &self,
        connected: &Connected,
        script: &Script,
        call: &Call,
    ) -> Result<Vec<String>, Failed> {
        let reply = invoke(connected, script, call).await;
        reply.map_err(|error| self.failed(connected, &error))
    }

    /// Runs a script that changes nothing. When its answer is late, no step is in doubt, and so nobody has to join again because
    /// somebody looked.
    pub(super) async fn look(
        &self,
        connected: &Connected,
        script: &Script,
        call: &Call,
    ) -> Result<Vec<String>, Failed> {
        let reply = invoke(connected, script, call).await;
        reply.map_err(|error| {
            if !error.is_timeout() {
                return self.failed(connected, &error);
            }
            self.metrics.redis_errors.inc();
            tracing::warn!(%error, "budgets could not be read from Redis in time");
            Failed
        })
    }

    /// The members of a sorted set.
    pub(super) async fn members(&self, connected: &Connected, key: &str) -> Result<Vec<String>, Failed> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(key).arg(0).arg(-1);
        let members = range.query_async(&mut connected.connection.clone()).await;
        members.map_err(|error| self.failed(connected, &error))
    }

    fn failed(&self, connected: &Connected, error: &RedisError) -> Failed {
        self.metrics.redis_errors.inc();
        tracing::warn!(%error, "a step of the budget ledger failed in Redis");
        self.give_up(connected.generation);
        Failed
    }
}

async fn invoke(connected: &Connected, script: &Script, call: &Call) -> Result<Vec<String>, RedisError> {
    let mut invocation = script.prepare_invoke();
    for key in &call.keys {
        invocation.key(key);
    }
    for arg in &call.args {
        invocation.arg(arg);
    }
    invocation.invoke_async(&mut connected.connection.clone()).await
}

pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Dollars with all twelve decimals, as the scripts want them. Amounts below zero do not occur; those beyond what a double counts
/// exactly are cut to 9·10¹⁵ dollars.
pub(super) fn text(amount: Usd) -> String {
    const PICO: i128 = 1_000_000_000_000;
    let picos = amount.picos().clamp(0, 9_000_000_000_000_000 * PICO);
    format!("{}.{:012}", picos / PICO, picos % PICO)
}

/// An amount that a script wrote.
pub(super) fn amount(text: Option<&String>) -> Usd {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_all_their_digits() {
        for (picos, expected) in [
            (0, "0.000000000000"),
            (345, "0.000000000345"),
            (12_000_000_000_345, "12.000000000345"),
            (-5, "0.000000000000"),
            (i128::MAX, "9000000000000000.000000000000"),
        ] {
            assert_eq!(text(Usd::from_picos(picos)), expected);
        }
    }
}
