//! The gateway with everything on that a call can use: `--full`.
//!
//! Nothing that is configured refuses anything or changes which model answers: what is measured is what deciding costs. The first tier's
//! answer is accepted, limits and budgets are never reached, and the cache misses, since each body is another; a second peer asks the same
//! again and again and is answered from it.

use super::{Place, UPSTREAM};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The route that clients name.
const ROUTE: &str = "support";
/// A place in a body that the load generator fills with a number of its own for each request.
const EACH_ITS_OWN: &str = "@@@@@@@@@@";

/// The names of the peers that the harness adds.
pub(super) const PEERS: &str = "full,hits";
/// The peer whose budgets are in Redis.
pub(super) const WITH_REDIS: &str = "full-redis";

/// Writes every policy; returns a tenant's key.
pub(super) fn prepare(place: &Place) -> Result<String> {
    place.seed()?;
    for provider in ["openai", "east", "west"] {
        let create =
            ["provider", "create", provider, "--base-url", UPSTREAM, "--secret", "literal:sk-upstream"];
        place.admin(&[&create[..], &["--price-as", "openai"]].concat())?;
    }
    for model in ["gpt-4o-mini", "gpt-4o"] {
        place.admin(&["model", "create", model, "--provider", "openai"])?;
    }
    place.put("plan", "generous", &plan())?;
    place.admin(&[
        "tenant",
        "create",
        "bench",
        "--name",
        "Bench",
        "--plan",
        "generous",
        "--organisation",
        "everyone",
    ])?;
    let key = place.key(&["--plan", "generous"])?;
    place.put("pool", "gpt-4o-mini", &pool())?;
    place.put("cascade", "cheap-first", &cascade())?;
    place.put("cache", "exact", &json!({"exact": true, "ttl_seconds": 60, "max_bytes": 16 << 20}))?;
    let file = place.write("prompt", &prompt())?;
    place.admin(&["prompt", "create", ROUTE, "--file", &file, "--label", "production"])?;
    let route = json!({
        "cascade": "cheap-first", "cache": "exact", "prompt": {"name": ROUTE, "label": "production"}, "tags": ["bench"],
        "guardrails": ["both-ways"], "experiment": "two-arms",
    });
    place.put("guardrail", "both-ways", &guardrail())?;
    place.put("experiment", "two-arms", &experiment())?;
    let file = place.write("route", &route)?;
    place.admin(&["route", "create", ROUTE, "--model", "gpt-4o-mini", "--spec-file", &file])?;
    for (name, scope) in [
        ("organisation", json!({"kind": "organisation", "organisation": "everyone"})),
        ("tenant", json!({"kind": "tenant", "tenant": "bench"})),
        ("key", json!({"kind": "key", "key": key.id})),
    ] {
        place.put("budget", name, &json!({"scope": scope, "limit": "1000000000", "soft": "900000000"}))?;
    }
    Ok(key.secret)
}

/// How the harness calls it: what of a body is its own, and what is started beside it.
pub(super) fn peer(mut ours: Value, name: &str) -> Value {
    let question =
        "Explain in two short sentences what an API gateway does for calls to language models. ".repeat(3);
    let number = if name == "hits" { "0000000000" } else { EACH_ITS_OWN };
    ours["model"] = ROUTE.into();
    ours["body"] = json!({
        "prompt": {"name": ROUTE, "variables": {"product": "the gateway", "tone": "friendly"}},
        "messages": [{"role": "user", "content": format!("{question}{number}")}],
        "user": "somebody",
    });
    if name == WITH_REDIS {
        let redis =
            ["redis-server", "--port", "6390", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        ours["beside"] = json!([redis]);
        ours["env"] = json!({"CONTROL_TOWER__GATEWAY__BUDGETS__REDIS": "redis://127.0.0.1:6390"});
    }
    ours
}

fn plan() -> Value {
    json!({
        "requests_per_second": 1_000_000, "requests_per_minute": 60_000_000, "tokens_per_minute": 1_000_000_000_000_u64,
        "concurrent_requests": 10_000, "dollars_per_minute": "1000000", "dollars_per_day": "100000000", "weight": 2,
    })
}

/// Three deployments behind one queue, with probes, breakers and retries within a budget. Prompts that begin alike go together.
fn pool() -> Value {
    let deployment = |id: &str| json!({"id": id, "provider": id, "upstream_model": "gpt-4o-mini"});
    json!({
        "deployments": [deployment("openai"), deployment("east"), deployment("west")],
        "probe": {"path": "/v1/models", "every_ms": 1_000, "timeout_ms": 500, "failures": 3},
        "balance": {"kind": "prefix_affinity", "min_prefix_bytes": 64, "prefix_bytes": 512},
        "retries": {"max_attempts": 3, "budget_percent": 20},
        "queue": {"concurrency": 1_000},
    })
}

fn cascade() -> Value {
    json!({
        "tiers": [
            {"model": "gpt-4o-mini", "checks": ["refusal_or_empty", "json_schema"]},
            {"model": "gpt-4o"},
        ],
        "price_ceiling": "1",
    })
}

fn prompt() -> Value {
    json!({
        "messages": [{
            "role": "system",
            "content": "You are a helpful assistant for {{ product }}.{% if tone == \"friendly\" %} Be friendly.{% endif %}",
        }],
        "variables": {
            "type": "object", "required": ["product"], "additionalProperties": false,
            "properties": {"product": {"type": "string"}, "tone": {"enum": ["friendly", "plain"]}},
        },
        "defaults": {"temperature": 0.2},
    })
}

fn guardrail() -> Value {
    let rule = |name: &str, patterns: &[&str], action: &str| json!({"name": name, "check": {"regex": {"patterns": patterns, "case_insensitive": true}}, "action": action});
    json!({
        "input": [
            rule("injection", &["ignore (all|any) previous instructions", "system prompt"], "block"),
            rule("secrets", &["sk-[a-z0-9]{20,40}", "AKIA[0-9A-Z]{16}"], "block"),
        ],
        "output": [rule("cards", &["\\b[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{4}\\b"], "block")],
    })
}

fn experiment() -> Value {
    json!({
        "arms": [{"name": "as-is"}, {"name": "cooler", "parameters": {"temperature": 0.1}}],
        "sticky": "user",
    })
}

impl Place {
    /// Writes a document.
    fn put(&self, kind: &str, name: &str, spec: &Value) -> Result<()> {
        let file = self.write(&format!("{kind}-{name}"), spec)?;
        self.admin(&[kind, "set", name, "--file", &file]).map(drop)
    }

    /// A file that says `spec`.
    fn write(&self, name: &str, spec: &Value) -> Result<String> {
        let path = self.dir.join(format!("{name}.json"));
        std::fs::write(&path, spec.to_string()).with_context(|| format!("writing {}", path.display()))?;
        Ok(path.display().to_string())
    }
}
