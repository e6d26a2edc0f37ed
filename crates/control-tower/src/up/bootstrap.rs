//! `DIR/bootstrap.json`: where a tower is and how to get in, for people and scripts.

use super::place::{Place, write_private};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::Path;
use warehouse::WarehouseConfig;

/// Addresses and credentials. Only the addresses change from start to start.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bootstrap {
    /// Base URL of the gateway, without `/v1`.
    pub(crate) gateway_url: String,
    /// The console.
    pub(crate) console_url: String,
    /// OTLP over gRPC.
    pub(crate) otlp_grpc_url: String,
    /// OTLP over HTTP, without `/v1/traces`.
    pub(crate) otlp_http_url: String,
    /// The evaluator, without `/v1`.
    #[serde(default)]
    pub(crate) evaluator_url: String,
    /// ClickHouse.
    pub(crate) clickhouse: ClickHouse,
    /// Key for `/admin/v1` and the command line.
    pub(crate) admin_key: String,
    /// The first tenant.
    pub(crate) tenant_id: String,
    /// An API key of the first tenant.
    pub(crate) tenant_key: String,
    /// The key with which judges ask models; calls made with it are not judged.
    #[serde(default)]
    pub(crate) evaluator_key: String,
    /// First user of the console.
    pub(crate) console_user: String,
    /// Its password.
    pub(crate) console_password: String,
}

/// How to reach ClickHouse.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ClickHouse {
    /// HTTP interface.
    pub(crate) url: String,
    /// User.
    pub(crate) user: String,
    /// Password.
    pub(crate) password: String,
    /// User that may only read, for the console and dashboards; empty where a server of somebody else's has none.
    #[serde(default)]
    pub(crate) reader_user: String,
    /// Its password.
    #[serde(default)]
    pub(crate) reader_password: String,
    /// Database.
    pub(crate) database: String,
}

impl Bootstrap {
    /// What the last start left in `dir`; `None` on the first.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = dir.join("bootstrap.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{}: cannot be read", path.display())),
        };
        let bootstrap = serde_json::from_slice(&bytes).with_context(|| {
            format!("{}: not what a tower wrote; remove it to have new credentials made", path.display())
        })?;
        Ok(Some(bootstrap))
    }

    /// Writes it, as a whole or not at all, for the owner alone.
    pub(crate) fn write(&self, place: &Place) -> anyhow::Result<()> {
        let path = place.dir().join("bootstrap.json");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        write_private(&path, text.as_bytes())
            .with_context(|| format!("{}: cannot be written", path.display()))
    }

    /// How our own roles reach ClickHouse.
    pub(crate) fn warehouse(&self, cluster: Option<String>) -> WarehouseConfig {
        let ClickHouse { url, user, password, database, .. } = self.clickhouse.clone();
        WarehouseConfig { url, user, password, database, cluster }
    }
}
