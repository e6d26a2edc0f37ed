//! Keys: what clients sign their calls with. Admins create and revoke them; the secret is shown once.

use crate::api::types::{KeyCreated, KeyInfo, KeyRequest, KeysAnswer, Me};
use crate::api::{self, Problem};
use crate::components::badge::{Badge, Tone};
use crate::components::copy::CopyButton;
use crate::components::empty::Empty;
use crate::components::frame::use_viewer;
use crate::components::loading::loaded;
use crate::components::time::Day;
use leptos::prelude::*;
use leptos_meta::Title;

/// The Keys page.
#[component]
pub(crate) fn KeysPage() -> impl IntoView {
    let me = use_viewer();
    let keys = Resource::new(|| (), |()| api::keys());
    let reload = Callback::new(move |()| keys.refetch());
    view! {
        <Title text="Keys · Control Tower"/>
        <header class="page-head">
            <h1>"Keys"</h1>
        </header>
        {loaded(me, move |me| if me.admin { view! { <CreateKey me reload/> }.into_any() } else { ().into_any() })}
        {loaded(
            keys,
            move |answer| {
                let admin = me.get_untracked().and_then(Result::ok).is_some_and(|me| me.admin);
                content(answer, admin, reload)
            },
        )}
    }
    .into_any()
}

fn content(answer: KeysAnswer, admin: bool, reload: Callback<()>) -> AnyView {
    if answer.keys.is_empty() {
        return view! {
            <Empty title="No keys yet">
                <p>"A key belongs to a tenant and signs its calls to the gateway. "
                    {if admin { "Create the first one above." } else { "Ask an administrator to create one." }}</p>
            </Empty>
        }
        .into_any();
    }
    let now = answer.now_ms;
    let rows = answer
        .keys
        .into_iter()
        .map(|key| view! { <KeyRow key_info=key now_ms=now admin reload/> })
        .collect_view();
    view! {
        <section class="card table-card">
            <div class="scroll-x" tabindex="0" role="region" aria-label="Keys">
                <table class="grid">
                    <thead>
                        <tr>
                            <th scope="col">"Name"</th>
                            <th scope="col">"Tenant"</th>
                            <th scope="col">"Secret"</th>
                            <th scope="col">"Models"</th>
                            <th scope="col">"Plan"</th>
                            <th scope="col">"Guardrails"</th>
                            <th scope="col">"Created"</th>
                            <th scope="col">"Expires"</th>
                            <th scope="col">"State"</th>
                            {admin.then(|| view! { <th scope="col"><span class="visually-hidden">"Actions"</span></th> })}
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

#[component]
fn KeyRow(key_info: KeyInfo, now_ms: i64, admin: bool, reload: Callback<()>) -> impl IntoView {
    let key = key_info;
    let expired = key.expires_ms.is_some_and(|end| end <= now_ms);
    let (tone, state) = match (key.revoked_ms, expired) {
        (Some(_), _) => (Tone::Quiet, "revoked"),
        (None, true) => (Tone::Warn, "expired"),
        (None, false) => (Tone::Good, "active"),
    };
    let models = key.allowed_models.map_or_else(|| String::from("all"), |names| names.join(", "));
    let guardrails = if key.guardrails.is_empty() { String::from("none") } else { key.guardrails.join(", ") };
    let name = if key.name.is_empty() { key.id.clone() } else { key.name };
    let revocable = admin && key.revoked_ms.is_none();
    view! {
        <tr class:faded=key.revoked_ms.is_some()>
            <th scope="row"><span class="clip" title=key.id.clone()>{name.clone()}</span></th>
            <td>{key.tenant}</td>
            <td><code>{format!("{}…", key.prefix)}</code></td>
            <td><span class="clip" title=models.clone()>{models.clone()}</span></td>
            <td>{key.plan.unwrap_or_else(|| String::from("none"))}</td>
            <td><span class="clip" title=guardrails.clone()>{guardrails.clone()}</span></td>
            <td><Day ms=key.created_ms/></td>
            <td>{key.expires_ms.map_or_else(|| "never".into_any(), |ms| view! { <Day ms/> }.into_any())}</td>
            <td><Badge tone text=state/></td>
            {admin.then(|| view! {
                <td class="right">{revocable.then(|| view! { <RevokeKey id=key.id name reload/> })}</td>
            })}
        </tr>
    }
    .into_any()
}

/// A button that asks once more before it revokes.
#[component]
fn RevokeKey(id: String, name: String, reload: Callback<()>) -> impl IntoView {
    let asked = RwSignal::new(false);
    let revoke = Action::new(move |(): &()| {
        let id = id.clone();
        async move {
            let result = api::revoke_key(id).await;
            if result.is_ok() {
                reload.run(());
            }
            result.err()
        }
    });
    let failure = move || {
        revoke
            .value()
            .get()
            .flatten()
            .map(|p: Problem| view! { <small class="bad" role="alert">{p.message}</small> })
    };
    let question = format!("Revoke {name}? Its calls fail at once.");
    view! {
        <div class="confirm scripted">
            <Show
                when=move || asked.get()
                fallback=move || view! {
                    <button type="button" class="button small" on:click=move |_| asked.set(true)>"Revoke"</button>
                }
            >
                <span class="clip">{question.clone()}</span>
                <button
                    type="button"
                    class="button small danger"
                    disabled=move || revoke.pending().get()
                    on:click=move |_| { revoke.dispatch(()); }
                >
                    "Revoke"
                </button>
                <button type="button" class="button small quiet" on:click=move |_| asked.set(false)>"Keep"</button>
            </Show>
            {failure}
        </div>
    }
    .into_any()
}

/// The form that creates a key, and the one view of its secret.
#[component]
fn CreateKey(me: Me, reload: Callback<()>) -> impl IntoView {
    let tenant = RwSignal::new(me.tenants.first().map(|t| t.id.clone()).unwrap_or_default());
    let (name, days, models) =
        (RwSignal::new(String::new()), RwSignal::new(String::new()), RwSignal::new(String::new()));
    let create = Action::new(move |request: &KeyRequest| {
        let request = request.clone();
        async move {
            let created = api::create_key(request).await;
            if created.is_ok() {
                name.set(String::new());
                reload.run(());
            }
            created
        }
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let names: Vec<String> = models
            .get_untracked()
            .split([',', ' '])
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        create.dispatch(KeyRequest {
            tenant: tenant.get_untracked(),
            name: name.get_untracked().trim().to_owned(),
            expires_in_days: days.get_untracked().parse().ok(),
            allowed_models: (!names.is_empty()).then_some(names),
        });
    };
    let options =
        me.tenants.into_iter().map(|t| view! { <option value=t.id>{t.name}</option> }).collect_view();
    let outcome = move || {
        create.value().get().map(|result: Result<KeyCreated, Problem>| match result {
            Ok(created) => secret(created),
            Err(problem) => view! { <p class="form-error" role="alert">{problem.message}</p> }.into_any(),
        })
    };
    view! {
        <section class="card create-key scripted">
            <h2>"New key"</h2>
            <form class="fields" on:submit=submit>
                <label class="field">
                    <span>"Name"</span>
                    <input name="name" bind:value=name placeholder="checkout service" maxlength="100" required/>
                </label>
                <label class="field">
                    <span>"Tenant"</span>
                    <select name="tenant" bind:value=tenant>{options}</select>
                </label>
                <label class="field">
                    <span>"Expires"</span>
                    <select name="days" bind:value=days>
                        <option value="">"never"</option>
                        <option value="1">"in a day"</option>
                        <option value="30">"in 30 days"</option>
                        <option value="90">"in 90 days"</option>
                        <option value="365">"in a year"</option>
                    </select>
                </label>
                <label class="field grow">
                    <span>"Models " <small>"(comma separated; empty allows all)"</small></span>
                    <input name="models" bind:value=models/>
                </label>
                <button class="button primary" disabled=move || create.pending().get()>"Create key"</button>
            </form>
            {outcome}
        </section>
        <noscript>
            <p class="note">"Creating and revoking keys here needs scripts; " <code>"control-tower key create"</code> " does the same."</p>
        </noscript>
    }
    .into_any()
}

fn secret(created: KeyCreated) -> AnyView {
    view! {
        <div class="secret" role="status">
            <p>
                <b>{created.key.name}</b>
                " is ready. Copy its secret now: it is not stored and cannot be shown again."
            </p>
            <div class="secret-line">
                <code data-secret="">{created.secret.clone()}</code>
                <CopyButton text=created.secret label="Copy"/>
            </div>
        </div>
    }
    .into_any()
}
