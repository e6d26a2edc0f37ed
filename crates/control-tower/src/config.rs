//! `control-tower.toml`: a section for each role, every key with a default, unknown keys refused.

use anyhow::Context as _;
use evaluator::hub::{self, HubId};
use runtime::config::ByteSize;
use runtime::telemetry::LogConfig;
use serde::Deserialize;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use warehouse::WarehouseConfig;
use warehouse::engine::{EngineConfig, Reader};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TowerConfig {
    pub(crate) gateway: gateway_proxy::Config,
    pub(crate) collector: collector::Config,
    pub(crate) evaluator: evaluator::Config,
    pub(crate) inference: InferenceConfig,
    pub(crate) store: StoreConfig,
    pub(crate) web: web::server::Config,
    pub(crate) control: ControlConfig,
    pub(crate) sim: sim::Config,
    pub(crate) log: LogConfig,
}

/// Section `[store]`: ClickHouse, embedded or not.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreConfig {
    /// URL of a ClickHouse server or cluster; nothing is embedded then.
    pub(crate) clickhouse_url: Option<String>,
    /// User.
    pub(crate) user: String,
    /// Password; `up` makes one for the embedded engine.
    pub(crate) password: String,
    /// User that may only read, for the console and dashboards; without one the console reads as `user`.
    pub(crate) reader_user: Option<String>,
    /// Its password; `up` makes one for the embedded engine.
    pub(crate) reader_password: String,
    /// Database.
    pub(crate) database: String,
    /// Name of the cluster whose every node gets the schema.
    pub(crate) cluster: Option<String>,
    /// The embedded engine's library, when it is not in one of the usual places.
    pub(crate) engine_library: Option<PathBuf>,
    /// Directory of the embedded engine's data.
    pub(crate) dir: PathBuf,
    /// Port of the embedded engine's HTTP interface.
    pub(crate) http_port: u16,
    /// Port of the embedded engine's native interface.
    pub(crate) tcp_port: u16,
    /// Memory that the embedded engine may come to use.
    pub(crate) memory: ByteSize,
    /// Where the role `store` answers `/healthz`, `/readyz` and `/metrics`.
    pub(crate) health_listen: SocketAddr,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let warehouse = WarehouseConfig::default();
        Self {
            clickhouse_url: None,
            user: warehouse.user,
            password: String::new(),
            reader_user: None,
            reader_password: String::new(),
            database: warehouse.database,
            cluster: None,
            engine_library: None,
            dir: PathBuf::from("data/store"),
            http_port: 8123,
            tcp_port: 9009,
            memory: ByteSize::gib(2),
            health_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8124)),
        }
    }
}

/// Section `[control]`: the control database.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ControlConfig {
    /// `sqlite:///path/control.db` or `postgres://user:password@host/database`.
    pub(crate) url: Option<String>,
}

/// Section `[inference]`: models that run on this machine.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct InferenceConfig {
    /// Directory of the embedder's weights, when they are not in one of the usual places.
    pub(crate) model_dir: Option<PathBuf>,
    /// A model of a hub, `owner/name` or `owner/name@revision`, fetched into the data directory; instead of a directory.
    pub(crate) hub_model: Option<HubId>,
}

impl InferenceConfig {
    /// Checks what types cannot say.
    fn validate(&self) -> Result<(), String> {
        match (&self.model_dir, &self.hub_model) {
            (Some(dir), Some(id)) => Err(format!(
                "inference.hub_model: {id} is not valid beside inference.model_dir = {}: expected one of the two",
                dir.display()
            )),
            _ => Ok(()),
        }
    }
}

impl ControlConfig {
    /// The URL, or that of the default data directory.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("sqlite://data/control.db")
    }
}

impl StoreConfig {
    /// How clients reach ClickHouse.
    pub(crate) fn warehouse(&self) -> WarehouseConfig {
        let embedded = || format!("http://127.0.0.1:{}", self.http_port);
        WarehouseConfig {
            url: self.clickhouse_url.clone().unwrap_or_else(embedded),
            user: self.user.clone(),
            password: self.password.clone(),
            database: self.database.clone(),
            cluster: self.cluster.clone(),
        }
    }

    /// How who only reads reaches ClickHouse.
    pub(crate) fn reader(&self) -> WarehouseConfig {
        let warehouse = self.warehouse();
        match &self.reader_user {
            None => warehouse,
            Some(user) => {
                WarehouseConfig { user: user.clone(), password: self.reader_password.clone(), ..warehouse }
            }
        }
    }

    /// How the embedded engine is started. Its library is looked for in `data_dir/engine` among other places.
    pub(crate) fn engine(&self, data_dir: Option<&Path>) -> EngineConfig {
        let binary = std::env::current_exe().ok();
        let cache = cache_home();
        let library = self.engine_library.as_deref();
        EngineConfig {
            library: warehouse::engine::searched_places(
                library,
                binary.as_deref(),
                data_dir,
                cache.as_deref(),
            ),
            path: self.dir.clone(),
            http_port: self.http_port,
            tcp_port: self.tcp_port,
            memory_bytes: self.memory.as_u64(),
            user: self.user.clone(),
            password: self.password.clone(),
            database: self.database.clone(),
            reader: self
                .reader_user
                .clone()
                .map(|user| Reader { user, password: self.reader_password.clone() }),
        }
    }
}

/// Checks the URL of a Redis, where there is one. It may hold a password, so it is not shown.
fn redis_url(field: &str, url: &str) -> Result<(), String> {
    // A fragment would ask for TLS that trusts anybody.
    if url.is_empty() || redis::Client::open(url).is_ok() && !url.contains('#') {
        return Ok(());
    }
    Err(format!(
        "{field}: what it says is not valid: expected a URL such as redis://127.0.0.1:6379, or nothing"
    ))
}

/// `$XDG_CACHE_HOME`, else `$HOME/.cache`.
fn cache_home() -> Option<PathBuf> {
    let dir = |name| set(name).map(PathBuf::from);
    dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")))
}

/// A variable of the environment that is none of ours.
fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl TowerConfig {
    /// The gateway's part, with what it takes from other sections. Weights that are configured must be there, others need not.
    pub(crate) fn gateway(self) -> anyhow::Result<gateway_proxy::Config> {
        let data_dir = self.store.dir.parent().map(Path::to_owned);
        let configured = self.inference.model_dir.as_deref();
        let embedder = match inference::models::find(configured, data_dir.as_deref()) {
            Err(error) if configured.is_some() => return Err(error).context("inference.model_dir"),
            found => found.ok(),
        };
        Ok(gateway_proxy::Config { embedder, ..self.gateway })
    }

    /// The evaluator's part, with what it takes from other sections.
    pub(crate) fn evaluator(self) -> evaluator::Config {
        let InferenceConfig { model_dir, hub_model } = self.inference;
        // As the Hub's own tools have it.
        let hub_endpoint = set(hub::ENDPOINT).and_then(|url| url.into_string().ok());
        let hub_endpoint = hub_endpoint.unwrap_or_else(|| hub::PUBLIC.to_owned());
        evaluator::Config { model_dir, hub_model, hub_endpoint, ..self.evaluator }
    }

    /// Everything that is wrong beyond types, one sentence each; empty when all is well.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut note = |result: Result<(), String>| problems.extend(result.err());
        note(self.gateway.validate().map_err(|e| e.to_string()));
        note(redis_url("gateway.budgets.redis", &self.gateway.budgets.redis));
        note(redis_url("gateway.cache.redis", &self.gateway.cache.redis));
        note(self.collector.validate().map_err(|e| e.to_string()));
        note(self.evaluator.validate().map_err(|e| e.to_string()));
        note(self.inference.validate());
        note(self.web.validate().map_err(|e| e.to_string()));
        note(self.sim.validate().map_err(|e| e.to_string()));
        note(self.store.warehouse().validate().map_err(|e| e.to_string()));
        if self.store.clickhouse_url.is_none() {
            // The passwords are made by `up`; any other is checked.
            let mut engine = self.store.engine(None);
            let reader = engine.reader.as_mut().map(|reader| &mut reader.password);
            for password in [Some(&mut engine.password), reader].into_iter().flatten() {
                if password.is_empty() {
                    *password = "0".repeat(64);
                }
            }
            note(engine.validate().map_err(|e| e.to_string()));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> Result<TowerConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        runtime::config::load(Some(file.path())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_evaluator_takes_the_model_of_inference() {
        let dir = |toml| load(toml).unwrap().evaluator().model_dir;
        assert_eq!(dir("[inference]\nmodel_dir = \"/a\""), Some(PathBuf::from("/a")));
        assert_eq!(dir(""), None);
        assert!(load("[evaluator]\nmodel_dir = \"/b\"").unwrap_err().contains("model_dir"));
        let hub = |toml| load(toml).map(|config| config.evaluator().hub_model.map(|id| id.to_string()));
        assert_eq!(hub("[inference]\nhub_model = \"a/b\"").unwrap().as_deref(), Some("a/b@main"));
        let error = hub("[inference]\nhub_model = \"../b\"").unwrap_err();
        assert!(error.contains("inference.hub_model") && error.contains("owner/name"), "{error}");
        let both = load("[inference]\nmodel_dir = \"/a\"\nhub_model = \"a/b\"").unwrap().problems();
        assert!(both.len() == 1 && both[0].contains("inference.hub_model"), "{both:?}");
    }

    #[test]
    fn the_console_reads_as_the_reader_where_there_is_one() {
        let store = |toml: &str| load(&format!("[store]\npassword = \"secret\"\n{toml}")).unwrap().store;
        assert_eq!(store("").reader(), store("").warehouse());
        let with = store("reader_user = \"looks\"\nreader_password = \"only\"");
        assert_eq!((with.reader().user.as_str(), with.reader().password.as_str()), ("looks", "only"));
        assert_eq!(
            (with.warehouse().user.as_str(), with.warehouse().password.as_str()),
            ("control_tower", "secret")
        );
        let problems = load("[store]\nreader_user = \"control_tower\"").unwrap().problems();
        assert!(problems.len() == 1 && problems[0].contains("store.reader_user"), "{problems:?}");
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(load("").unwrap().problems(), Vec::<String>::new());
    }

    #[test]
    fn the_gateway_has_sections_for_budgets_floods_and_streams_that_go_on() {
        let all = "[gateway.budgets]\ndir = \"/a\"\nwhen_gateway_dies = \"release\"\ndefault_max_tokens = 100\ncontext_tokens = 400000\nopen_damaged = true\n\
                   redis = \"redis://:secret@127.0.0.1:6379/1\"\nlease_ms = 5000\nredis_timeout_ms = 100\ngrant = \"1.50\"\n\
                   [gateway.flood]\nfailures_per_minute = 5\n\
                   [gateway.resume]\nstream_bytes = 1\ntotal_bytes = 2\nmost_streams = 3\nkeep_ms = 4\n";
        let config = load(all).unwrap();
        assert_eq!(config.problems(), Vec::<String>::new());
        assert_eq!(config.gateway.budgets.grant, Some("1.50".parse().unwrap()));
        for (toml, key, expected) in [
            ("[gateway.budgets]\nwhen_gateway_dies = \"shrug\"", "when_gateway_dies", "charge"),
            ("[gateway.budgets]\ngrant = \"much\"", "gateway.budgets.grant", "much"),
            ("[gateway.flood]\nfailures_per_minute = 0", "gateway.flood.failures_per_minute", "nonzero"),
            ("[gateway.resume]\nkeep = 1", "keep", "keep_ms"),
        ] {
            let error = load(toml).unwrap_err();
            assert!(error.contains(key) && error.contains(expected), "{toml}: {error}");
        }
        for (toml, key) in [
            ("[gateway.budgets]\nlease_ms = 0", "gateway.budgets.lease_ms"),
            ("[gateway.budgets]\nredis = \"somewhere:secret\"", "gateway.budgets.redis"),
            ("[gateway.resume]\nstream_bytes = 0", "gateway.resume.stream_bytes"),
        ] {
            let problems = load(toml).unwrap().problems();
            assert!(problems.len() == 1 && problems[0].starts_with(key), "{toml}: {problems:?}");
            assert!(!problems[0].contains("secret"), "{problems:?}");
        }
    }

    #[test]
    fn errors_name_key_value_and_what_is_expected() {
        let error = load("[gateway]\nlisten = 7").unwrap_err();
        assert!(error.contains("gateway.listen") && error.contains('7'), "{error}");
        let error = load("[store]\nmemroy = \"1 GiB\"").unwrap_err();
        assert!(error.contains("memroy") && error.contains("memory"), "{error}");
        let problems = load("[store]\nmemory = \"1 MiB\"\n[web]\nsession_hours = 0").unwrap().problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("store.memory")), "{problems:?}");
        assert!(problems.iter().any(|p| p.contains("web.session_hours")), "{problems:?}");
    }
}
