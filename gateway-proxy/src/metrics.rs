//! What the gateway counts about itself.

use crate::endpoints::{self, Endpoint};
use contracts::live::Totals;
use contracts::{TokenUsage, UsageSource, Usd};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// `gen_ai.server.time_to_first_token`, seconds.
const FIRST_TOKEN: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// `gen_ai.server.request.duration`, seconds.
const DURATION: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

type ByLabel<L> = Family<L, Counter>;
type Timing = Family<Operation, Histogram, fn() -> Histogram>;

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    /// Who caused an error; empty when there was none.
    pub(crate) fault: &'static str,
}

impl Request {
    /// One that brought what was asked for.
    const fn answered(route: &'static str) -> Self {
        Self { route, status: 200, fault: "" }
    }
}

/// A stable class of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Class {
    pub(crate) class: &'static str,
}

/// A breach of a guardrail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Breach {
    pub(crate) action: &'static str,
    /// `input`, `output` or `tool`.
    pub(crate) place: &'static str,
}

/// A GenAI operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Operation {
    pub(crate) operation: &'static str,
}

/// Tokens metered, in the kinds of `gen_ai.client.inference.usage.*`: counters of their own, without a label to look up at each call.
#[derive(Debug, Clone, Default)]
struct Tokens {
    input: Counter,
    output: Counter,
    cache_read: Counter,
    cache_write: Counter,
    reasoning: Counter,
}

/// What every call of an endpoint counts: looked up once, not at each of them.
#[derive(Debug, Clone)]
struct OfEndpoint {
    path: &'static str,
    /// Requests answered with 200.
    answered: Counter,
    first_token: Histogram,
    duration: Histogram,
}

/// Handles on all metrics of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct GatewayMetrics {
    requests: ByLabel<Request>,
    endpoints: Vec<OfEndpoint>,
    pub(crate) refusals: ByLabel<Class>,
    pub(crate) upstream_errors: ByLabel<Class>,
    tokens: Tokens,
    usage: [(UsageSource, Counter); 3],
    cost_picodollars: Counter,
    /// Calls that began, that ended, and that did not end well: for who asks now, and in `requests` for who keeps time series.
    calls: [Counter; 3],
    pub(crate) unpriced: Counter,
    pub(crate) retries: Counter,
    pub(crate) hedges: Counter,
    pub(crate) hedges_won: Counter,
    pub(crate) escalations: Counter,
    breaches: ByLabel<Breach>,
    pub(crate) disconnects: Counter,
    pub(crate) slow_readers: Counter,
    pub(crate) records_lost: Counter,
    pub(crate) truncated_bytes: Counter,
    pub(crate) names_cut: Counter,
    pub(crate) malformed_events: Counter,
    pub(crate) active_streams: Gauge,
    pub(crate) shipped_records: Counter,
    pub(crate) shipper_failures: ByLabel<Class>,
    pub(crate) shipper_rejected: Counter,
}

impl GatewayMetrics {
    /// Registers everything once.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let timing = |buckets: fn() -> Histogram| -> Timing { Family::new_with_constructor(buckets) };
        let requests: ByLabel<Request> = Family::default();
        let usage: ByLabel<Class> = Family::default();
        let first_token = timing(|| Histogram::new(FIRST_TOKEN));
        let duration = timing(|| Histogram::new(DURATION));
        let of_endpoint = |endpoint: &Endpoint| {
            let operation = Operation { operation: endpoint.operation };
            OfEndpoint {
                path: endpoint.path,
                answered: requests.get_or_create(&Request::answered(endpoint.path)).clone(),
                first_token: first_token.get_or_create(&operation).clone(),
                duration: duration.get_or_create(&operation).clone(),
            }
        };
        let by_source =
            |source: UsageSource| (source, usage.get_or_create(&Class { class: source.as_str() }).clone());
        let metrics = Self {
            endpoints: endpoints::ALL.into_iter().map(of_endpoint).collect(),
            usage: [UsageSource::Reported, UsageSource::Estimated, UsageSource::Partial].map(by_source),
            requests,
            refusals: Family::default(),
            upstream_errors: Family::default(),
            tokens: Tokens::default(),
            cost_picodollars: Counter::default(),
            calls: Default::default(),
            unpriced: Counter::default(),
            retries: Counter::default(),
            hedges: Counter::default(),
            hedges_won: Counter::default(),
            escalations: Counter::default(),
            breaches: Family::default(),
            disconnects: Counter::default(),
            slow_readers: Counter::default(),
            records_lost: Counter::default(),
            truncated_bytes: Counter::default(),
            names_cut: Counter::default(),
            malformed_events: Counter::default(),
            active_streams: Gauge::default(),
            shipped_records: Counter::default(),
            shipper_failures: Family::default(),
            shipper_rejected: Counter::default(),
        };
        let m = metrics.clone();
        registry.register(
            "gateway_requests",
            "Requests answered, by route, status and whose fault",
            m.requests,
        );
        registry.register("gateway_refusals", "Requests refused by the gateway, by error code", m.refusals);
        let help = "Failed attempts at upstreams, by class";
        registry.register("gateway_upstream_errors", help, m.upstream_errors);
        for (name, help, counter) in [
            ("input_tokens", "Tokens of prompts", m.tokens.input),
            ("output_tokens", "Tokens of answers", m.tokens.output),
            ("cache_read_input_tokens", "Of prompts' tokens, those read from a cache", m.tokens.cache_read),
            (
                "cache_write_input_tokens",
                "Of prompts' tokens, those written to a cache",
                m.tokens.cache_write,
            ),
            ("reasoning_output_tokens", "Of answers' tokens, those of reasoning", m.tokens.reasoning),
        ] {
            registry.register(format!("gen_ai_client_inference_usage_{name}"), help, counter);
        }
        registry.register("gateway_usage", "Calls with usage, by where it comes from", usage);
        registry.register("gateway_cost_picodollars", "Cost, 10^-12 USD", m.cost_picodollars);
        let help = "Rules of guardrails that were breached, by action and place";
        registry.register("gateway_guardrail_breaches", help, m.breaches);
        for (name, help, counter) in [
            ("retries", "Tries that followed a failed one of the same call", m.retries),
            ("hedges", "Second tries beside one that took long", m.hedges),
            ("hedges_won", "Second tries that brought the answer", m.hedges_won),
            ("escalations", "Answers of a cascade's tiers that were not good enough", m.escalations),
            ("unpriced_calls", "Calls whose model has no price", m.unpriced),
            ("client_disconnects", "Clients that left before their answer", m.disconnects),
            ("slow_readers", "Readers of kept streams that fell behind by more than is kept", m.slow_readers),
            ("records_lost", "Calls and outcomes that could not be recorded", m.records_lost),
            ("capture_truncated_bytes", "Captured content cut off", m.truncated_bytes),
            ("names_cut", "Names of models, answers and endings too long to be recorded whole", m.names_cut),
            ("malformed_events", "Stream events that were not understood", m.malformed_events),
        ] {
            registry.register(format!("gateway_{name}"), help, counter);
        }
        registry.register("gateway_active_streams", "Streams being relayed", m.active_streams);
        let help = "Time to first token";
        registry.register_with_unit("gen_ai_server_time_to_first_token", help, Unit::Seconds, first_token);
        registry.register_with_unit("gen_ai_server_request_duration", "Whole calls", Unit::Seconds, duration);
        registry.register("gateway_shipped_records", "Records the collector has accepted", m.shipped_records);
        let help = "Failed deliveries to the collector, by class";
        registry.register("gateway_shipper_failures", help, m.shipper_failures);
        registry.register(
            "gateway_shipper_rejected_records",
            "Records that the collector refuses for good",
            m.shipper_rejected,
        );
        metrics
    }

    /// Counts what one call used and cost.
    pub(crate) fn count_usage(&self, usage: &TokenUsage, source: UsageSource, cost: Option<Usd>) {
        if let Some((_, calls)) = self.usage.iter().find(|(of, _)| *of == source) {
            calls.inc();
        }
        for (counter, tokens) in [
            (&self.tokens.input, usage.input),
            (&self.tokens.output, usage.output),
            (&self.tokens.cache_read, usage.cache_read),
            (&self.tokens.cache_write, usage.cache_write.saturating_add(usage.cache_write_1h)),
            (&self.tokens.reasoning, usage.reasoning),
        ] {
            counter.inc_by(tokens);
        }
        if let Some(cost) = cost {
            self.cost_picodollars.inc_by(u64::try_from(cost.picos()).unwrap_or(0));
        }
    }

    /// A call begins.
    pub(crate) fn begin_call(&self) {
        self.calls[0].inc();
    }

    /// A call has ended, and is recorded.
    pub(crate) fn end_call(&self, is_failed: bool) {
        self.calls[1].inc();
        if is_failed {
            self.calls[2].inc();
        }
    }

    /// Calls that have begun and not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        // In this order, so that no call is seen to end that was not seen to begin.
        let ended = self.calls[1].get();
        self.calls[0].get().saturating_sub(ended)
    }

    /// All that ended, and what it used and cost.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            calls: self.calls[1].get(),
            failed: self.calls[2].get(),
            input_tokens: self.tokens.input.get(),
            output_tokens: self.tokens.output.get(),
            cost: Usd::from_picos(self.cost_picodollars.get().into()),
        }
    }

    /// Counts one answered request.
    pub(crate) fn count_request(&self, route: &'static str, status: u16, fault: &'static str) {
        let request = Request { route, status, fault };
        match self.of(route).filter(|_| request == Request::answered(route)) {
            Some(endpoint) => endpoint.answered.inc(),
            None => self.requests.get_or_create(&request).inc(),
        };
    }

    /// Counts a breach of a guardrail.
    pub(crate) fn count_breach(&self, action: &'static str, place: &'static str) {
        self.breaches.get_or_create(&Breach { action, place }).inc();
    }

    /// Counts something by class.
    pub(crate) fn count(counters: &Family<Class, Counter>, class: &'static str) {
        counters.get_or_create(&Class { class }).inc();
    }

    /// Notes how long a call of an endpoint took, and its first content.
    pub(crate) fn time(&self, endpoint: &Endpoint, whole: Duration, first_token: Option<Duration>) {
        let Some(of) = self.of(endpoint.path) else { return };
        of.duration.observe(whole.as_secs_f64());
        if let Some(first) = first_token {
            of.first_token.observe(first.as_secs_f64());
        }
    }

    fn of(&self, path: &str) -> Option<&OfEndpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.path == path)
    }
}
