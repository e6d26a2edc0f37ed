//! Calls: every client request, newest first, filtered by what stands in the URL.

use crate::api::types::{CallsAnswer, Me};
use crate::components::badge::{Badge, Tone};
use crate::components::empty::FirstCall;
use crate::components::figures::{Cost, Count, Duration};
use crate::components::filters::FilterBar;
use crate::components::frame::use_viewer;
use crate::components::live::LiveSwitch;
use crate::components::loading::loaded;
use crate::components::range::RangePicker;
use crate::components::time::Time;
use crate::components::url::{use_query, use_search};
use crate::query::Query;
use crate::{api, format};
use contracts::reads::CallRow;
use leptos::prelude::*;
use leptos_meta::Title;

/// The Calls page.
#[component]
pub(crate) fn CallsPage() -> impl IntoView {
    let search = use_search(|path| path == "/calls");
    let (query, me) = (use_query(search), use_viewer());
    let calls = Resource::new(move || search.get(), api::calls);
    let refresh = Callback::new(move |()| calls.refetch());
    view! {
        <Title text="Calls · Control Tower"/>
        <header class="page-head">
            <h1>"Calls"</h1>
            <div class="page-tools">
                <LiveSwitch refresh/>
                <RangePicker path="/calls" query/>
            </div>
        </header>
        {loaded(me, move |me| view! { <FilterBar path="/calls" query me full=true/> }.into_any())}
        {loaded(
            calls,
            move |answer| {
                let query = query.get_untracked();
                let me = me.get_untracked().and_then(Result::ok).unwrap_or_default();
                content(answer, &query, &me)
            },
        )}
    }
    .into_any()
}

fn content(answer: CallsAnswer, query: &Query, me: &Me) -> AnyView {
    if answer.page.calls.is_empty() {
        return view! { <FirstCall gateway_url=me.gateway_url.clone()/> }.into_any();
    }
    let several = me.tenants.len() > 1;
    let first = query.cursor.is_some().then(|| format!("/calls{}", query.with_cursor(None).to_search()));
    let next =
        answer.page.next.map(|cursor| format!("/calls{}", query.with_cursor(Some(cursor)).to_search()));
    let shown = answer.page.calls.len();
    let rows = answer.page.calls.into_iter().map(|call| row(call, several)).collect_view();
    view! {
        <section class="card table-card">
            <div class="scroll-x" tabindex="0" role="region" aria-label="Calls">
                <table class="grid calls" data-rows="">
                    <thead>
                        <tr>
                            <th scope="col">"Time"</th>
                            <th scope="col">"Status"</th>
                            <th scope="col">"Model"</th>
                            {several.then(|| view! { <th scope="col">"Tenant"</th> })}
                            <th scope="col">"Key"</th>
                            <th scope="col" class="right">"Tokens in"</th>
                            <th scope="col" class="right">"out"</th>
                            <th scope="col" class="right">"First token"</th>
                            <th scope="col" class="right">"Duration"</th>
                            <th scope="col" class="right">"Cost"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
        <nav class="pager" aria-label="Pages of calls">
            <span class="quiet-note num">{format!("{shown} calls")}</span>
            {first.map(|href| view! { <a class="button" href=href>"Newest"</a> })}
            {next.map(|href| view! { <a class="button" rel="next" href=href>"Older"</a> })}
        </nav>
    }
    .into_any()
}

fn row(call: CallRow, several: bool) -> impl IntoView {
    let href = format!("/calls/{}/{}?at={}", call.trace_id, call.span_id, call.start_ms);
    let status = if call.http_status == 0 { String::from("–") } else { call.http_status.to_string() };
    let asked = call.request_model.clone();
    // A dated name of the same model says nothing new.
    let answered =
        (!call.response_model.starts_with(&call.request_model)).then(|| call.response_model.clone());
    // Where nothing was used, nothing was estimated either.
    let is_counted = !matches!(call.usage_source.as_str(), "" | "reported");
    let usage_note = is_counted.then(|| format!("Usage is {}", call.usage_source));
    let tokens_class = if usage_note.is_some() { "right estimated" } else { "right" };
    view! {
        <tr>
            <td class="c-time"><a class="row-link" href=href><Time ms=call.start_ms/></a></td>
            <td class="c-status">
                <Badge tone=Tone::of_status(call.http_status) text=status title=call.error_type.clone()/>
            </td>
            <td class="c-model">
                <span class="clip" title=format!("{asked}, answered by {} at {}", call.response_model, call.provider)>{asked.clone()}</span>
                {(!call.error_type.is_empty()).then(|| view! { <small class="error-type clip">{call.error_type.clone()}</small> })}
                {answered.filter(|model| !model.is_empty()).map(|model| view! { <small class="clip" title="Model that answered">{model}</small> })}
                {call.stream.then(|| view! { <small class="tag" title="Streamed">"stream"</small> })}
                {(call.attempts > 1).then(|| view! { <small class="tag">{format!("{} attempts", call.attempts)}</small> })}
            </td>
            {several.then(|| view! { <td class="c-tenant"><span class="clip">{call.tenant_id.clone()}</span></td> })}
            <td class="c-key"><code class="clip" title=call.key_id.clone()>{call.key_id.clone()}</code></td>
            <td class=format!("{tokens_class} c-in") title=usage_note><Count n=call.usage.input/></td>
            <td class="right c-out"><Count n=call.usage.output/></td>
            <td class="right c-ttft"><span class="num">{format::maybe_duration(call.ttft_ms)}</span></td>
            <td class="right c-duration"><Duration ms=Some(call.duration_ms)/></td>
            <td class="right strong c-cost"><Cost call/></td>
        </tr>
    }
    .into_any()
}
