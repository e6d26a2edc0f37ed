//! A console on a temporary control database and prepared figures.

pub mod figures;

use control::Control;
use control::records::{NewApiKey, NewModel, NewProvider, NewTenant, NewUser, Role};
use figures::Figures;
use runtime::{Clock, Metrics};
use std::sync::Arc;
use web::admin::Gateways;
use web::server::{AppState, Config, Parts};

/// Password of every user.
pub const PASSWORD: &str = "correct horse battery";

/// What stands: the state of a console, and what it stands on.
pub struct Stage {
    pub state: AppState,
    pub control: Control,
    pub admin_key: String,
    _folder: tempfile::TempDir,
}

/// Two tenants, a user `ada` (admin), a user `vera` (viewer of `acme` alone), models and keys.
pub async fn stage(figures: Figures, clock: Clock) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::open(&format!("sqlite://{}/control.db", folder.path().display())).await.unwrap();
    let now = clock.now();
    for id in ["acme", "globex"] {
        control.tenants().create(NewTenant::new(id.parse().unwrap()), now).await.unwrap();
        let key = NewApiKey::new(id.parse().unwrap(), format!("{id} backend"));
        control.keys().create(key, now).await.unwrap();
    }
    for (name, role, tenants) in
        [("ada", Role::Admin, None), ("vera", Role::Viewer, Some(vec!["acme".parse().unwrap()]))]
    {
        let user = NewUser { username: name.into(), password: PASSWORD.into(), role, tenants };
        control.users().create(user, now).await.unwrap();
    }
    for (id, url) in [
        ("openai", "https://api.openai.com/v1"),
        ("anthropic", "https://api.anthropic.com/v1"),
        ("vllm-eu-1", "http://127.0.0.1:8000/v1"),
    ] {
        let provider = NewProvider::new(id.parse().unwrap(), url);
        control.providers().create(provider, now).await.unwrap();
    }
    for (name, provider, tier) in [
        ("gpt-4o-mini", "openai", "mid"),
        ("claude-sonnet-4-5", "anthropic", "premium"),
        ("llama-3.3-70b", "vllm-eu-1", "local"),
    ] {
        let model = NewModel {
            name: name.parse().unwrap(),
            provider: provider.parse().unwrap(),
            upstream_model: None,
            price_as: None,
            tier: Some(tier.into()),
        };
        control.models().create(model, now).await.unwrap();
    }
    let admin_key = control.admin_keys().create("tests", now).await.unwrap().secret;
    let parts = Parts {
        gateways: Gateways::new(&Config::default()).unwrap(),
        config: Config::default(),
        control: control.clone(),
        reads: Arc::new(figures),
        clock,
        metrics: Metrics::new(),
    };
    Stage { state: AppState::new(parts), control, admin_key, _folder: folder }
}
