//! The filters of the Overview and of Calls: one GET form, so they live in the URL and work without scripts. With scripts
//! a change applies at once.

use super::icon::{self, Icon};
use crate::api::types::{FacetsAnswer, Me, TenantName};
use crate::query::{Query, Span};
use crate::{api, when};
use contracts::reads::Outcome;
use leptos::prelude::*;

/// The filter bar of the page at `path`.
#[component]
pub(crate) fn FilterBar(
    /// Path of the page.
    path: &'static str,
    /// The question in its URL.
    query: Memo<Query>,
    /// Who looks, and at which tenants.
    me: Me,
    /// Whether to offer text, cost and latency too, as Calls does.
    #[prop(optional)]
    full: bool,
) -> impl IntoView {
    let span = Memo::new(move |_| query.with(|q| Query { span: q.span, ..Query::default() }.to_search()));
    let facets = Resource::new(move || span.get(), api::facets);
    view! {
        <Transition fallback=|| view! { <div class="filters"></div> }>
            {move || {
                let me = me.clone();
                Suspend::new(async move {
                    // Without facets the filters in force can still be seen and cleared.
                    let facets = facets.await.unwrap_or_default();
                    view! { {move || query.with(|q| form(path, full, q, &me, &facets))} }
                })
            }}
        </Transition>
    }
    .into_any()
}

fn form(path: &'static str, full: bool, query: &Query, me: &Me, facets: &FacetsAnswer) -> AnyView {
    let filter = &query.filter;
    let span = span_fields(query);
    let search = full.then(|| search_field(filter.text.clone()));
    let limits = full.then(|| limit_fields(query));
    let named = |ids: &[String], names: &[TenantName]| -> Vec<(String, String)> {
        let name = |id: &String| {
            names.iter().find(|n| n.id == *id && !n.name.is_empty()).map_or(id, |n| &n.name).clone()
        };
        ids.iter().map(|id| (id.clone(), name(id))).collect()
    };
    let tenants: Vec<String> = me.tenants.iter().map(|t| t.id.clone()).collect();
    let tenant = query.tenants.first().map(|t| t.as_str().to_owned());
    let outcome = filter.outcome.map(|o| String::from(if o == Outcome::Ok { "ok" } else { "error" }));
    let outcomes = vec![("ok".into(), "Succeeded".into()), ("error".into(), "Failed".into())];
    let active = query.filter_pairs();
    let more = active.iter().filter(|(name, _)| *name != "q").count();
    let cleared = format!("{path}{}", Query { span: query.span, ..Query::default() }.to_search());
    view! {
        <form class="filters" method="get" action=path role="search" data-autosubmit="">
            {span}
            {search}
            <input type="checkbox" id="more-filters" class="more-toggle visually-hidden"/>
            <label for="more-filters" class="button more-label">
                <Icon path=icon::FILTER/>
                "Filters"
                {(more > 0).then(|| view! { <span class="dot num">{more}</span> })}
            </label>
            <div class="filter-fields">
                {full.then(|| select("status", "Status", outcomes, outcome))}
                {select("model", "Model", named(&facets.facets.models, &[]), filter.models.first().cloned())}
                {select("route", "Route", named(&facets.facets.routes, &[]), filter.routes.first().cloned())}
                {(tenants.len() > 1).then(|| select("tenant", "Tenant", named(&tenants, &me.tenants), tenant))}
                {select("key", "Key", named(&facets.facets.keys, &facets.key_names), filter.keys.first().cloned())}
                {limits}
                <button class="button unscripted">"Apply"</button>
                {(!active.is_empty()).then(|| view! { <a class="button quiet" href=cleared>"Clear"</a> })}
            </div>
        </form>
    }
    .into_any()
}

fn span_fields(query: &Query) -> AnyView {
    match query.span {
        span if span == Span::default() => ().into_any(),
        Span::Last(preset) => view! { <input type="hidden" name="range" value=preset.name/> }.into_any(),
        Span::Fixed(range) => view! {
            <input type="hidden" name="from" value=when::rfc3339(range.from_ms)/>
            <input type="hidden" name="to" value=when::rfc3339(range.to_ms)/>
        }
        .into_any(),
    }
}

fn search_field(text: Option<String>) -> impl IntoView {
    view! {
        <label class="search">
            <Icon path=icon::SEARCH/>
            <input
                type="search"
                name="q"
                value=text
                maxlength="500"
                placeholder="Search text or id"
                title="Text in prompts and answers, or an exact request, trace or response id"
                aria-label="Search"
                aria-keyshortcuts="/"
            />
            <kbd class="scripted">"/"</kbd>
        </label>
    }
    .into_any()
}

fn limit_fields(query: &Query) -> impl IntoView + use<> {
    view! {
        <label class="field inline">
            <span>"Cost ≥ $"</span>
            <input name="min_cost" inputmode="decimal" size="6" value=query.filter.min_cost.map(|c| c.to_string())/>
        </label>
        <label class="field inline">
            <span>"ms ≥"</span>
            <input name="min_ms" inputmode="numeric" size="6" value=query.filter.min_duration_ms.map(|v| v.to_string())/>
        </label>
    }
    .into_any()
}

/// A choice among `options` (value and words); a value in force that is not among them is added.
fn select(
    name: &'static str,
    label: &'static str,
    mut options: Vec<(String, String)>,
    chosen: Option<String>,
) -> impl IntoView {
    if let Some(value) = chosen.as_ref().filter(|value| options.iter().all(|(v, _)| v != *value)) {
        options.insert(0, (value.clone(), value.clone()));
    }
    let options = options
        .into_iter()
        .map(|(value, words)| {
            let selected = chosen.as_ref() == Some(&value);
            view! { <option value=value selected=selected>{words}</option> }
        })
        .collect_view();
    view! {
        <label class="select" class:active=chosen.is_some()>
            <span class="visually-hidden">{label}</span>
            <select name=name>
                <option value="">{format!("{label}: any")}</option>
                {options}
            </select>
        </label>
    }
    .into_any()
}
