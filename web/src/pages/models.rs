//! Models: the names that clients may ask for, where they lead, and what they cost.

use crate::api;
use crate::api::types::{ModelInfo, ModelsAnswer, RouteInfo};
use crate::components::empty::Empty;
use crate::components::loading::loaded;
use crate::format;
use contracts::Usd;
use leptos::prelude::*;
use leptos_meta::Title;

/// The Models page.
#[component]
pub(crate) fn ModelsPage() -> impl IntoView {
    let models = Resource::new(|| (), |()| api::models());
    view! {
        <Title text="Models · Control Tower"/>
        <header class="page-head">
            <h1>"Models"</h1>
        </header>
        {loaded(models, content)}
    }
    .into_any()
}

fn content(answer: ModelsAnswer) -> AnyView {
    if answer.models.is_empty() && answer.routes.is_empty() {
        return view! {
            <Empty title="No models yet">
                <p>"A model is a name that clients ask for, at a provider. Add a provider, then a model:"</p>
                <div class="snippet">
                    <pre><code>
                        "control-tower provider create openai --base-url https://api.openai.com/v1 --secret env:OPENAI_API_KEY\ncontrol-tower model create gpt-4o-mini --provider openai"
                    </code></pre>
                </div>
            </Empty>
        }
        .into_any();
    }
    let models = answer.models.into_iter().map(model).collect_view();
    let has_routes = !answer.routes.is_empty();
    let routes = answer.routes.into_iter().map(route).collect_view();
    view! {
        <section class="card table-card">
            <div class="scroll-x" tabindex="0" role="region" aria-label="Models">
                <table class="grid">
                    <thead>
                        <tr>
                            <th scope="col">"Name"</th>
                            <th scope="col">"Provider"</th>
                            <th scope="col">"Known there as"</th>
                            <th scope="col">"Tier"</th>
                            <th scope="col" class="right" title="USD for a million tokens">"Input / M"</th>
                            <th scope="col" class="right" title="USD for a million tokens">"Cache read / M"</th>
                            <th scope="col" class="right" title="USD for a million tokens">"Output / M"</th>
                        </tr>
                    </thead>
                    <tbody>{models}</tbody>
                </table>
            </div>
        </section>
        {has_routes.then(|| view! {
            <section class="card table-card">
                <h2>"Routes"</h2>
                <div class="scroll-x" tabindex="0" role="region" aria-label="Routes">
                    <table class="grid">
                        <thead>
                            <tr>
                                <th scope="col">"Name"</th>
                                <th scope="col">"Leads to"</th>
                                <th scope="col">"For"</th>
                            </tr>
                        </thead>
                        <tbody>{routes}</tbody>
                    </table>
                </div>
            </section>
        })}
    }
    .into_any()
}

fn model(model: ModelInfo) -> impl IntoView {
    let unpriced = model.input_per_million.is_none() && model.output_per_million.is_none();
    let calls = format!(
        "/calls?model={}",
        form_urlencoded::byte_serialize(model.name.as_bytes()).collect::<String>()
    );
    view! {
        <tr>
            <th scope="row"><a href=calls title="Calls of this model">{model.name}</a></th>
            <td>{model.provider}</td>
            <td><code>{model.upstream_model}</code></td>
            <td><span class="tag">{model.tier}</span></td>
            {if unpriced {
                view! { <td class="right" colspan="3"><span class="quiet-note">"no price known"</span></td> }.into_any()
            } else {
                view! {
                    <td class="right">{price(model.input_per_million)}</td>
                    <td class="right">{price(model.cache_read_per_million)}</td>
                    <td class="right">{price(model.output_per_million)}</td>
                }
                    .into_any()
            }}
        </tr>
    }
    .into_any()
}

fn price(amount: Option<Usd>) -> impl IntoView {
    amount.map_or_else(
        || view! { <span class="quiet-note">"–"</span> }.into_any(),
        |amount| {
            view! { <span class="num" title=format::exact_usd(amount)>{format::usd(amount)}</span> }
                .into_any()
        },
    )
}

fn route(route: RouteInfo) -> impl IntoView {
    view! {
        <tr>
            <th scope="row">{route.name}</th>
            <td>{route.model}</td>
            <td>{route.tenant.unwrap_or_else(|| String::from("every tenant"))}</td>
        </tr>
    }
    .into_any()
}
