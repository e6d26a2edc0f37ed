//! Providers, models and routes.

use crate::support::{NOW, Store, new_model, new_provider};
use contracts::{ModelName, TenantId};
use control::records::{ModelChange, NewModel, NewProvider, NewRoute, Patch, ProviderChange, SecretState};
use control::secrets::SecretRef;

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

pub async fn providers_live_from_creation_to_deletion(store: Store) {
    let providers = store.control.providers();
    let id = "openai".parse().unwrap();
    let secret: SecretRef = "literal:sk-123".parse().unwrap();
    let new = NewProvider {
        secret: Some(secret.clone()),
        price_as: Some("azure".into()),
        ..new_provider("openai")
    };
    let created = providers.create(new, NOW).await.unwrap();
    assert_eq!(providers.get(&id).await.unwrap().unwrap(), created);
    assert_eq!(created.base_url, "https://openai.example/v1");
    // The literal is stored, but shows itself nowhere.
    assert_eq!(created.secret, Some(secret));
    assert!(!format!("{created:?}").contains("sk-123"));
    assert!(!serde_json::to_string(&created).unwrap().contains("sk-123"));
    assert_eq!(created.secret_state(), SecretState::Resolved);

    let error = providers.create(new_provider("openai"), NOW).await.unwrap_err().to_string();
    assert_eq!(error, "provider \"openai\" already exists");

    let change = ProviderChange {
        base_url: Some("http://127.0.0.1:8070/v1/".into()),
        secret: Patch::Keep,
        price_as: Patch::Clear,
        ..ProviderChange::default()
    };
    let changed = providers.update(&id, change).await.unwrap();
    assert_eq!((changed.base_url.as_str(), &changed.price_as), ("http://127.0.0.1:8070/v1", &None));
    assert_eq!(changed.secret, created.secret);
    let change = ProviderChange { secret: Patch::Clear, ..ProviderChange::default() };
    assert_eq!(providers.update(&id, change).await.unwrap().secret_state(), SecretState::None);

    assert_eq!(providers.list().await.unwrap().len(), 1);
    providers.delete(&id).await.unwrap();
    assert_eq!(providers.get(&id).await.unwrap(), None);
    assert_eq!(providers.delete(&id).await.unwrap_err().to_string(), "provider \"openai\" does not exist");
}

pub async fn providers_are_validated(store: Store) {
    let providers = store.control.providers();
    for url in ["ftp://a/v1", "not a url", "https://user:pw@a/v1", "https://a/v1?key=1"] {
        let new = NewProvider { base_url: url.into(), ..new_provider("p") };
        let error = providers.create(new, NOW).await.unwrap_err().to_string();
        assert!(
            error.starts_with("base_url: ") && error.contains("expected an http or https URL"),
            "{error}"
        );
        assert!(!error.contains("pw"), "{error}");
    }
    let new = NewProvider { price_as: Some("two words".into()), ..new_provider("p") };
    let error = providers.create(new, NOW).await.unwrap_err().to_string();
    assert!(error.starts_with("price_as: \"two words\" is not valid"), "{error}");
    assert!(providers.list().await.unwrap().is_empty());
}

pub async fn models_and_routes_live_from_creation_to_deletion(store: Store) {
    store.tenant("acme").await;
    store.model("openai", "gpt").await;
    let (models, routes) = (store.control.models(), store.control.routes());
    let gpt = models.get(&name("gpt")).await.unwrap().unwrap();
    assert_eq!((gpt.upstream_model.as_str(), gpt.tier.as_str()), ("gpt", "premium"));

    let new = NewModel {
        upstream_model: Some("llama-3.1-8b@fp8".into()),
        price_as: Some("llama-3.1-8b".into()),
        tier: Some("local".into()),
        ..new_model("meta/llama", "openai")
    };
    let llama = models.create(new, NOW).await.unwrap();
    assert_eq!(models.list().await.unwrap(), [gpt.clone(), llama.clone()]);
    let change = ModelChange { tier: Some("mid".into()), ..ModelChange::default() };
    let changed = models.update(&llama.name, change).await.unwrap();
    assert_eq!((changed.tier.as_str(), changed.upstream_model.as_str()), ("mid", "llama-3.1-8b@fp8"));
    assert_eq!(changed.price_as.as_deref(), Some("llama-3.1-8b"));
    let change = ModelChange { price_as: Patch::Clear, ..ModelChange::default() };
    assert_eq!(models.update(&llama.name, change).await.unwrap().price_as, None);
    let change = ModelChange { price_as: Patch::Set("two words".into()), ..ModelChange::default() };
    let error = models.update(&llama.name, change).await.unwrap_err().to_string();
    assert!(error.starts_with("price_as: \"two words\" is not valid"), "{error}");
    let change = ModelChange { provider: Some("nowhere".parse().unwrap()), ..ModelChange::default() };
    let error = models.update(&llama.name, change).await.unwrap_err().to_string();
    assert_eq!(error, "provider \"nowhere\" does not exist");
    let error = models.create(new_model("x", "nowhere"), NOW).await.unwrap_err().to_string();
    assert_eq!(error, "provider \"nowhere\" does not exist");
    let error = models.create(new_model("gpt", "openai"), NOW).await.unwrap_err().to_string();
    assert_eq!(error, "model \"gpt\" already exists");

    let acme: TenantId = "acme".parse().unwrap();
    let new = NewRoute { tenant: Some(acme.clone()), ..NewRoute::new(name("bot"), name("gpt")) };
    let route = routes.create(new, NOW).await.unwrap();
    assert_eq!(routes.get(Some(&acme), &name("bot")).await.unwrap().unwrap(), route);
    assert_eq!(routes.get(None, &name("bot")).await.unwrap(), None, "it is acme's, not everyone's");
    let moved = routes.update(Some(&acme), &name("bot"), llama.name.clone()).await.unwrap();
    assert_eq!(moved.model, llama.name);
    assert_eq!(routes.list().await.unwrap(), [moved]);
    let error = routes.update(Some(&acme), &name("bot"), name("none")).await.unwrap_err().to_string();
    assert_eq!(error, "model \"none\" does not exist");
    routes.delete(Some(&acme), &name("bot")).await.unwrap();
    let error = routes.delete(Some(&acme), &name("bot")).await.unwrap_err().to_string();
    assert_eq!(error, "route \"bot\" does not exist");
}

pub async fn what_others_need_stays(store: Store) {
    store.tenant("acme").await;
    store.model("openai", "gpt").await;
    let new = NewRoute { tenant: Some("acme".parse().unwrap()), ..NewRoute::new(name("bot"), name("gpt")) };
    store.control.routes().create(new, NOW).await.unwrap();

    let error = store.control.providers().delete(&"openai".parse().unwrap()).await.unwrap_err().to_string();
    assert_eq!(error, "provider \"openai\" is in use by 1 model: remove these first");
    let error = store.control.models().delete(&name("gpt")).await.unwrap_err().to_string();
    assert_eq!(error, "model \"gpt\" is in use by 1 route: remove these first");
    let error = store.control.tenants().delete(&"acme".parse().unwrap()).await.unwrap_err().to_string();
    assert_eq!(error, "tenant \"acme\" is in use by 1 route: remove these first");

    // Behind the repositories' back the database itself refuses.
    let mut raw = store.raw().await;
    let error = sqlx::query("DELETE FROM models").execute(&mut raw).await.unwrap_err();
    assert!(error.as_database_error().unwrap().is_foreign_key_violation(), "{error}");
}

pub async fn routes_are_unique_per_owner(store: Store) {
    store.tenant("acme").await;
    store.tenant("other").await;
    store.model("openai", "gpt").await;
    let routes = store.control.routes();
    for tenant in [None, Some("acme"), Some("other")] {
        let new = NewRoute {
            tenant: tenant.map(|t| t.parse().unwrap()),
            ..NewRoute::new(name("bot"), name("gpt"))
        };
        routes.create(new.clone(), NOW).await.unwrap();
        assert_eq!(routes.create(new, NOW).await.unwrap_err().to_string(), "route \"bot\" already exists");
    }
    let owners: Vec<Option<String>> =
        routes.list().await.unwrap().into_iter().map(|r| r.tenant.map(Into::into)).collect();
    assert_eq!(owners, [None, Some("acme".into()), Some("other".into())]);
    routes.delete(None, &name("bot")).await.unwrap();
    assert_eq!(routes.list().await.unwrap().len(), 2);
}
