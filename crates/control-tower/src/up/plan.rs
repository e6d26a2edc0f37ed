//! Which processes make up the tower, with which addresses, directories and secrets.

use super::bootstrap::ClickHouse;
use super::place::Place;
use super::{Bootstrap, Pool};
use crate::cli::UpArgs;
use crate::config::TowerConfig;
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Addresses and places of one start.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    /// Absolute, for children that look at it from elsewhere.
    file: Option<PathBuf>,
    show_logs: bool,
    pub(crate) gateway: SocketAddr,
    pub(crate) console: SocketAddr,
    pub(crate) otlp_grpc: SocketAddr,
    pub(crate) otlp_http: SocketAddr,
    pub(crate) evaluator: SocketAddr,
    pub(crate) sim: SocketAddr,
    store_health: SocketAddr,
    pub(crate) clickhouse_http: u16,
    clickhouse_tcp: u16,
    pub(crate) clickhouse_url: Option<String>,
    pub(crate) control_url: String,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) role: &'static str,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, String)>,
    /// Where the role answers `/healthz` and `/readyz`.
    pub(crate) url: String,
    /// Where its log goes; `None` for our own standard error, each line with the role in front.
    pub(crate) log: Option<PathBuf>,
    /// Lowest first.
    pub(crate) stop_order: u8,
    /// How long it may take to stop.
    pub(crate) stop_deadline: Duration,
    /// Whether it can start before ClickHouse has its tables.
    pub(crate) before_schema: bool,
}

impl Spec {
    /// Answers 200 when the role is ready.
    pub(crate) fn ready_url(&self) -> String {
        format!("{}/readyz", self.url)
    }
}

impl Plan {
    pub(crate) fn new(
        place: &Place,
        args: &UpArgs,
        config: &TowerConfig,
        file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        if config.collector.tls.is_some() {
            bail!(
                "collector.tls: `up` reaches its own collector over plain HTTP: expected none here, or roles that are \
                 started one by one"
            );
        }
        let port = |key: &str, port: u16| match port.checked_add(args.port_base) {
            Some(shifted) => Ok(shifted),
            None => bail!(
                "--port-base {}: {key} would be port {}, expected at most 65535",
                args.port_base,
                u32::from(port) + u32::from(args.port_base)
            ),
        };
        let shift = |key: &str, address: SocketAddr| {
            Ok::<_, anyhow::Error>(SocketAddr::new(address.ip(), port(key, address.port())?))
        };
        let file = file
            .map(|file| file.canonicalize().with_context(|| format!("--config {}", file.display())))
            .transpose()?;
        let dir = place.dir().to_owned();
        Ok(Self {
            gateway: shift("gateway.listen", config.gateway.listen)?,
            console: shift("web.listen", config.web.listen)?,
            otlp_grpc: shift("collector.grpc_listen", config.collector.grpc_listen)?,
            otlp_http: shift("collector.http_listen", config.collector.http_listen)?,
            evaluator: shift("evaluator.listen", config.evaluator.listen)?,
            sim: shift("sim.listen", config.sim.listen)?,
            store_health: shift("store.health_listen", config.store.health_listen)?,
            clickhouse_http: port("store.http_port", config.store.http_port)?,
            clickhouse_tcp: port("store.tcp_port", config.store.tcp_port)?,
            clickhouse_url: config.store.clickhouse_url.clone(),
            control_url: config
                .control
                .url
                .clone()
                .unwrap_or_else(|| format!("sqlite://{}", dir.join("control.db").display())),
            show_logs: args.show_logs,
            file,
            dir,
        })
    }

    /// The URL at which others on this machine reach `address`.
    pub(crate) fn url(address: SocketAddr) -> String {
        let mut reachable = address;
        if address.ip().is_unspecified() {
            reachable.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{reachable}")
    }

    /// Base URL of the simulated pool.
    pub(crate) fn sim_base_url(&self) -> String {
        format!("{}/v1", Self::url(self.sim))
    }

    /// The processes, in the order in which they are started.
    pub(crate) fn specs(
        &self,
        config: &TowerConfig,
        bootstrap: &Bootstrap,
        pool: Pool,
    ) -> anyhow::Result<Vec<Spec>> {
        // The collector knows the gateway by this secret; both get it at each start, nobody keeps it.
        let service_key = control::secrets::generate("ct-service-")?.secret;
        let path = |sub: &str| self.dir.join(sub).display().to_string();
        let store = self.store_env(config, bootstrap);
        let ClickHouse { user, password, reader_user, reader_password, .. } = bootstrap.clickhouse.clone();
        let writer = vec![("CONTROL_TOWER__STORE__USER", user), ("CONTROL_TOWER__STORE__PASSWORD", password)];
        let reader = vec![
            ("CONTROL_TOWER__STORE__READER_USER", reader_user),
            ("CONTROL_TOWER__STORE__READER_PASSWORD", reader_password),
        ];
        let mut specs = Vec::new();
        if self.clickhouse_url.is_none() {
            let mut spec = self.spec("store", Vec::new(), self.store_health);
            spec.env.extend(store.clone());
            spec.env.extend(writer.clone());
            spec.env.extend(reader.clone());
            spec.env.push(("CONTROL_TOWER__STORE__HEALTH_LISTEN", self.store_health.to_string()));
            (spec.stop_order, spec.before_schema) = (5, true);
            specs.push(spec);
        }
        if pool == Pool::Simulated {
            let mut spec = self.spec("sim", vec!["--stop-on-stdin-end"], self.sim);
            spec.env.push(("CONTROL_TOWER__SIM__LISTEN", self.sim.to_string()));
            if config.sim.log.is_none() {
                spec.env.push(("CONTROL_TOWER__SIM__LOG", path("sim.jsonl")));
            }
            (spec.stop_order, spec.before_schema) = (2, true);
            specs.push(spec);
        }
        let mut gateway = self.spec("gateway", vec!["--stop-on-stdin-end"], self.gateway);
        gateway.env.extend([
            ("CONTROL_TOWER__GATEWAY__LISTEN", self.gateway.to_string()),
            ("CONTROL_TOWER__GATEWAY__COLLECTOR_URL", bootstrap.otlp_http_url.clone()),
            ("CONTROL_TOWER__GATEWAY__COLLECTOR_KEY", service_key.clone()),
            ("CONTROL_TOWER__GATEWAY__SPOOL__DIR", path("spool/gateway")),
            ("CONTROL_TOWER__GATEWAY__BUDGETS__DIR", path("gateway/budgets")),
        ]);
        gateway.stop_deadline += Duration::from_millis(config.gateway.drain_ms);
        (gateway.stop_order, gateway.before_schema) = (1, true);
        specs.push(gateway);
        let mut collector = self.spec("collector", vec!["--stop-on-stdin-end"], self.otlp_http);
        collector.env.extend(store.clone());
        collector.env.extend(writer.clone());
        collector.env.extend([
            ("CONTROL_TOWER__COLLECTOR__GRPC_LISTEN", self.otlp_grpc.to_string()),
            ("CONTROL_TOWER__COLLECTOR__HTTP_LISTEN", self.otlp_http.to_string()),
            ("CONTROL_TOWER__COLLECTOR__SERVICE_KEY", service_key),
            ("CONTROL_TOWER__COLLECTOR__SPOOL_DIR", path("spool/collector")),
        ]);
        collector.stop_deadline += config.collector.drain_deadline;
        collector.stop_order = 3;
        specs.push(collector);
        let mut evaluator = self.spec("evaluator", vec!["--stop-on-stdin-end"], self.evaluator);
        evaluator.env.extend(store.clone());
        evaluator.env.extend(writer.clone());
        evaluator.env.extend([
            ("CONTROL_TOWER__EVALUATOR__LISTEN", self.evaluator.to_string()),
            ("CONTROL_TOWER__EVALUATOR__GATEWAY_URL", bootstrap.gateway_url.clone()),
            ("CONTROL_TOWER__EVALUATOR__GATEWAY_KEY", bootstrap.evaluator_key.clone()),
        ]);
        evaluator.stop_deadline += config.evaluator.drain_deadline * 2;
        evaluator.stop_order = 4;
        specs.push(evaluator);
        let mut web = self.spec("web", vec!["--stop-on-stdin-end"], self.console);
        web.env.extend(store);
        // Where there is a reader the console never hears of the password with which one could write.
        web.env.extend(if bootstrap.clickhouse.reader_user.is_empty() { writer } else { reader });
        web.env.extend([
            ("CONTROL_TOWER__WEB__LISTEN", self.console.to_string()),
            ("CONTROL_TOWER__WEB__GATEWAY_URL", format!("{}/v1", bootstrap.gateway_url)),
            ("CONTROL_TOWER__WEB__GATEWAYS", format!("[{:?}]", bootstrap.gateway_url)),
        ]);
        web.stop_deadline += Duration::from_secs(u64::from(config.web.drain_seconds));
        web.stop_order = 4;
        specs.push(web);
        Ok(specs)
    }

    fn spec(&self, role: &'static str, args: Vec<&'static str>, listen: SocketAddr) -> Spec {
        let mut line: Vec<OsString> = Vec::new();
        if let Some(file) = &self.file {
            line.extend(["--config".into(), file.into()]);
        }
        line.push(role.into());
        line.extend(args.into_iter().map(OsString::from));
        Spec {
            role,
            args: line,
            env: vec![("CONTROL_TOWER__CONTROL__URL", self.control_url.clone())],
            url: Self::url(listen),
            log: (!self.show_logs).then(|| self.dir.join("logs").join(format!("{role}.log"))),
            stop_order: 0,
            stop_deadline: Duration::from_secs(10),
            before_schema: false,
        }
    }

    fn store_env(&self, config: &TowerConfig, bootstrap: &Bootstrap) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("CONTROL_TOWER__STORE__DATABASE", bootstrap.clickhouse.database.clone()),
            ("CONTROL_TOWER__STORE__HTTP_PORT", self.clickhouse_http.to_string()),
            ("CONTROL_TOWER__STORE__TCP_PORT", self.clickhouse_tcp.to_string()),
            ("CONTROL_TOWER__STORE__DIR", self.dir.join("store").display().to_string()),
        ];
        if let Some(cluster) = &config.store.cluster {
            env.push(("CONTROL_TOWER__STORE__CLUSTER", cluster.clone()));
        }
        env
    }
}
