//! What the suite needs: a fresh database on either backend, and short ways to fill it.

pub mod postgres;

use self::postgres::Postgres;
use contracts::Timestamp;
use contracts::policy::Kind;
use contracts::price::ModelPrice;
use control::Control;
use control::records::{NewModel, NewProvider, NewTenant};
use serde_json::{Value, json};
use std::sync::Arc;

/// When every test happens: 2026-01-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

/// A fresh database.
pub struct Store {
    /// Opened.
    pub control: Control,
    /// Where it is, to open it again or to look behind the repositories.
    pub url: String,
    _keeps: Keeps,
}

/// What must outlive the store.
enum Keeps {
    Directory(#[expect(dead_code, reason = "held until the store is dropped")] tempfile::TempDir),
    Server(#[expect(dead_code, reason = "held until the store is dropped")] Arc<Postgres>),
}

impl Store {
    /// A fresh file.
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("control.db").display());
        Self { control: Control::open(&url).await.unwrap(), url, _keeps: Keeps::Directory(directory) }
    }

    /// A fresh database on `server`.
    pub async fn postgres(server: Arc<Postgres>, name: &str) -> Self {
        let url = server.create_database(name).await;
        Self { control: Control::open(&url).await.unwrap(), url, _keeps: Keeps::Server(server) }
    }

    /// A connection behind the repositories' back.
    pub async fn raw(&self) -> sqlx::AnyConnection {
        <sqlx::AnyConnection as sqlx::Connection>::connect(&self.url).await.unwrap()
    }

    /// A tenant with the defaults.
    pub async fn tenant(&self, id: &str) {
        self.control.tenants().create(NewTenant::new(id.parse().unwrap()), NOW).await.unwrap();
    }

    /// A provider without credential, and one model of it.
    pub async fn model(&self, provider: &str, model: &str) {
        if self.control.providers().get(&provider.parse().unwrap()).await.unwrap().is_none() {
            self.control.providers().create(new_provider(provider), NOW).await.unwrap();
        }
        self.control.models().create(new_model(model, provider), NOW).await.unwrap();
    }
}

/// A provider without credential.
pub fn new_provider(id: &str) -> NewProvider {
    NewProvider::new(id.parse().unwrap(), format!("https://{id}.example/v1"))
}

/// A model with the defaults.
pub fn new_model(name: &str, provider: &str) -> NewModel {
    NewModel {
        name: name.parse().unwrap(),
        provider: provider.parse().unwrap(),
        upstream_model: None,
        price_as: None,
        tier: None,
    }
}

/// What may stand in a policy of `kind`; another for each `n`, which is 1 or more. A cascade needs a model `m`.
pub fn spec(kind: Kind, n: u64) -> Value {
    match kind {
        Kind::Plan => json!({"requests_per_minute": n}),
        Kind::Budget => {
            json!({"scope": {"kind": "organisation", "organisation": "big"}, "limit": n.to_string()})
        }
        Kind::Pool => json!({"slow_start_ms": n}),
        Kind::Cascade => json!({"tiers": [{"model": "m", "timeout_ms": n}]}),
        Kind::Cache => json!({"ttl_seconds": n}),
        Kind::Guardrail => {
            json!({"input": [{"name": "length", "check": {"max_chars": n}, "action": "block"}]})
        }
        Kind::Experiment => json!({"arms": [{"name": "a", "weight": n}, {"name": "b"}]}),
        Kind::Prompt => json!({"messages": [{"role": "system", "content": format!("Version {n}.")}]}),
    }
}

/// A price: `input` in USD per million tokens, from `valid_from` on.
pub fn price(provider: &str, model: &str, valid_from: Option<&str>, input: &str) -> ModelPrice {
    let json = serde_json::json!({
        "provider": provider,
        "model": model,
        "valid_from": valid_from,
        "charge": {"tokens": [{"rates": {"input": input}}]},
    });
    serde_json::from_value(json).unwrap()
}
