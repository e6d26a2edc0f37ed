//! Structured logs on standard error: sentences for a person at a terminal, one JSON object a line for everything else.
//!
//! A JSON line is `{"timestamp", "level", "role", "target", "message", …the event's fields, "spans": […names]}`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::io::IsTerminal;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// [`LogFormat::Human`] on a terminal, [`LogFormat::Json`] elsewhere.
    #[default]
    Auto,
    /// Text to read.
    Human,
    /// One JSON object a line.
    Json,
}

/// The section `[log]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `auto`, `human` or `json`.
    pub format: LogFormat,
    /// What is logged: a level (`info`), or levels by module (`info,gateway_proxy=debug`).
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in the syntax of `LogConfig::filter`.
    #[error("log.filter: {filter:?} is not valid: expected a level such as info, or module=level, …")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
}

/// Starts logging in `format` from level info on, each line naming the process's `role`. Panics are logged too.
pub fn init(role: &str, format: LogFormat) {
    install(role, format, EnvFilter::new("info"));
}

/// Starts logging as configured.
pub fn init_with(role: &str, config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
    install(role, config.format, filter);
    Ok(())
}

fn install(role: &str, format: LogFormat, filter: EnvFilter) {
    let role = role.to_owned();
    let terminal = std::io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(human && terminal);
    // The first setup of a process wins: tests and embedders may have made their own.
    let installed = if human {
        let layer = layer.with_timer(RoleTime { role }).with_target(false);
        tracing_subscriber::registry().with(filter).with(layer).try_init()
    } else {
        tracing_subscriber::registry().with(filter).with(layer.event_format(JsonLine { role })).try_init()
    };
    if installed.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string).unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or("no message");
            tracing::error!(panic.location = location, "panicked: {message}");
        }));
    }
}

/// The time of a line for people, followed by the role.
struct RoleTime {
    role: String,
}

impl FormatTime for RoleTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        SystemTime.format_time(w)?;
        write!(w, " {}", self.role)
    }
}

/// A line for machines.
struct JsonLine {
    role: String,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), Value::String(time));
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("role".to_owned(), self.role.as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        event.record(&mut JsonFields(&mut line));
        if let Some(scope) = context.event_scope() {
            let spans: Vec<Value> = scope.from_root().map(|span| span.name().into()).collect();
            line.insert("spans".to_owned(), Value::Array(spans));
        }
        let text = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{text}")
    }
}

/// Collects an event's fields.
struct JsonFields<'a>(&'a mut Map<String, Value>);

impl JsonFields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.put(field, text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object_with_role_and_fields() {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JsonLine { role: "gateway".to_owned() })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(spool.bytes = 7_u64, full = true, "the spool\nis full");
        });
        let bytes = sink.0.lock().unwrap().clone();
        let line: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).count(), 1);
        assert_eq!(line["role"], "gateway");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "the spool\nis full");
        assert_eq!(line["spool.bytes"], 7);
        assert_eq!(line["full"], true);
    }

    #[test]
    fn a_bad_filter_is_named() {
        let config = LogConfig { filter: "gateway=loud".to_owned(), ..LogConfig::default() };
        let error = init_with("test", &config).unwrap_err().to_string();
        assert!(error.contains("log.filter") && error.contains("gateway=loud"), "{error}");
    }
}
