//! One call: what it was, how long each part of it took, what was said, what it cost, and everything recorded about it.

use crate::api::types::Me;
use crate::components::badge::{Badge, Tone};
use crate::components::copy::CopyButton;
use crate::components::figures::{Cost, Count, Duration, Money};
use crate::components::frame::use_viewer;
use crate::components::loading::loaded;
use crate::components::messages::Messages;
use crate::components::time::Time;
use crate::components::url::use_search;
use crate::components::verdicts::Verdicts;
use crate::components::waterfall::Waterfall;
use crate::query::near_ms;
use crate::{api, format, transcript};
use contracts::Usd;
use contracts::reads::{CallDetail, CallRow, SpanView};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_params_map;
use std::collections::BTreeMap;

/// The page of one call.
#[component]
pub(crate) fn CallPage() -> impl IntoView {
    let params = use_params_map();
    let me = use_viewer();
    let ids = Memo::new(move |_| {
        params.with(|p| (p.get("trace_id").unwrap_or_default(), p.get("span_id").unwrap_or_default()))
    });
    let search = use_search(|path| path.starts_with("/calls/"));
    let near = move || search.with(|s| near_ms(s).ok().flatten());
    let call = Resource::new(
        move || (ids.get(), near()),
        |((trace_id, span_id), at)| api::call(trace_id, span_id, at),
    );
    view! {
        <Title text="Call · Control Tower"/>
        {loaded(
            call,
            move |detail| {
                let me = me.get_untracked().and_then(Result::ok).unwrap_or_default();
                content(detail, &me)
            },
        )}
    }
    .into_any()
}

fn content(detail: CallDetail, me: &Me) -> AnyView {
    let curl = transcript::curl(&detail, &me.gateway_url);
    let (input, output, tools) = said(&detail);
    let (has_input, has_output) = (!input.is_empty(), !output.is_empty());
    let call_span = detail.call.span_id.clone();
    let cost = cost_table(&detail);
    let spans = detail.spans.iter().map(|s| span_details(s, s.span_id == call_span)).collect_view();
    view! {
        {head(&detail.call, curl)}
        {summary(&detail.call)}
        <section class="card">
            <h2>"Trace"</h2>
            <Waterfall spans=detail.spans.clone() call=call_span/>
        </section>
        <div class="two">
            <div class="stack">
                <section class="card">
                    <h2>"Conversation"</h2>
                    {has_input.then(|| view! { <Messages messages=input/> })}
                    {has_output.then(|| view! { <h3 class="divider">"Answer"</h3><Messages messages=output/> })}
                    {(!has_input && !has_output).then(|| view! {
                        <p class="quiet-note">
                            "No content was recorded: this tenant keeps metadata only, the call failed before it was read, or a guardrail blocked it."
                        </p>
                    })}
                </section>
                {(!detail.verdicts.is_empty()).then(|| view! { <Verdicts detail=detail.clone()/> })}
            </div>
            <div class="stack side">
                {cost}
                {facts(&detail)}
                {(!tools.is_empty()).then(|| view! {
                    <details class="card fold">
                        <summary>"Tools offered"</summary>
                        <pre><code>{tools}</code></pre>
                    </details>
                })}
            </div>
        </div>
        <section class="card spans">
            <h2>"Recorded attributes"</h2>
            {spans}
        </section>
    }
    .into_any()
}

type Said = (Vec<transcript::Message>, Vec<transcript::Message>, String);

/// Input messages (instructions first), output messages, and the tools offered, laid out.
fn said(detail: &CallDetail) -> Said {
    let Some(span) = transcript::speaking_span(detail) else { return Said::default() };
    let mut input = transcript::messages(&span.system_instructions, "system");
    input.extend(transcript::messages(&span.input_messages, "user"));
    let output = transcript::messages(&span.output_messages, "assistant");
    (input, output, transcript::laid_out(&span.tool_definitions))
}

fn head(call: &CallRow, curl: String) -> impl IntoView + use<> {
    let title =
        if call.request_model.is_empty() { call.operation.clone() } else { call.request_model.clone() };
    let status = if call.http_status == 0 { String::from("no status") } else { call.http_status.to_string() };
    view! {
        <header class="page-head">
            <div class="title-line">
                <a class="back" href="/calls">"Calls"</a>
                <h1 class="clip">{title}</h1>
                <Badge tone=Tone::of_status(call.http_status) text=status/>
                {(!call.error_type.is_empty()).then(|| view! { <Badge tone=Tone::Bad text=call.error_type.clone()/> })}
            </div>
            <div class="page-tools">
                <CopyButton text=call.trace_id.clone() label="Copy trace id"/>
                <CopyButton text=curl label="Copy as curl"/>
            </div>
        </header>
    }
    .into_any()
}

fn summary(call: &CallRow) -> impl IntoView + use<> {
    let rate = tokens_per_second(call);
    view! {
        <dl class="summary card">
            <div><dt>"Started"</dt><dd><Time ms=call.start_ms/></dd></div>
            <div><dt>"Duration"</dt><dd><Duration ms=Some(call.duration_ms)/></dd></div>
            <div><dt>"First token"</dt><dd><Duration ms=call.ttft_ms/></dd></div>
            <div><dt>"Output speed"</dt><dd class="num">{rate}</dd></div>
            <div><dt>"Tokens in"</dt><dd><Count n=call.usage.input/></dd></div>
            <div><dt>"Tokens out"</dt><dd><Count n=call.usage.output/></dd></div>
            <div><dt>"Cost"</dt><dd><Cost call=call.clone()/></dd></div>
        </dl>
    }
    .into_any()
}

/// Output tokens over the time after the first one.
fn tokens_per_second(call: &CallRow) -> String {
    let seconds = (call.duration_ms - call.ttft_ms.unwrap_or(0.0)) / 1e3;
    if call.usage.output < 2 || seconds <= 0.0 {
        return String::from("–");
    }
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let rate = call.usage.output as f64 / seconds;
    format!("{rate:.0} tokens/s")
}

fn cost_table(detail: &CallDetail) -> impl IntoView + use<> {
    let usage = detail.call.usage;
    let written = usage.cache_write + usage.cache_write_1h;
    let fresh = usage.input.saturating_sub(usage.cache_read).saturating_sub(written);
    let line = |name: &'static str, tokens: u64, cost: Option<Usd>, below: bool| {
        (tokens > 0 || !below).then(|| {
            view! {
                <tr class:below=below>
                    <th scope="row">{name}</th>
                    <td class="right"><Count n=tokens/></td>
                    <td class="right">{cost.map(|amount| view! { <Money amount/> })}</td>
                </tr>
            }
        })
    };
    let unpriced = !detail.call.priced;
    let known = |cost: Usd| (!unpriced).then_some(cost);
    view! {
        <section class="card">
            <h2>"Tokens and cost"</h2>
            <table class="grid plain">
                <thead>
                    <tr>
                        <th scope="col">"Kind"</th>
                        <th scope="col" class="right">"Tokens"</th>
                        <th scope="col" class="right">"Cost"</th>
                    </tr>
                </thead>
                <tbody>
                    {line("Input", fresh, known(detail.cost_input), false)}
                    {line("Cache", usage.cache_read + written, known(detail.cost_cache), true)}
                    {line("of it read", usage.cache_read, None, true)}
                    {line("of it written, 5 min", usage.cache_write, None, true)}
                    {line("of it written, 1 h", usage.cache_write_1h, None, true)}
                    {line("Output", usage.output, known(detail.cost_output), false)}
                    {line("of it reasoning", usage.reasoning, None, true)}
                    {line("of it audio", usage.audio_output, None, true)}
                </tbody>
                <tfoot>
                    <tr>
                        <th scope="row">"Total"</th>
                        <td class="right"><Count n=usage.total()/></td>
                        <td class="right strong"><Cost call=detail.call.clone()/></td>
                    </tr>
                </tfoot>
            </table>
            {unpriced.then(|| view! {
                <p class="note warn">"The price book has no price for this model: the call counts as zero in sums."</p>
            })}
            {(!matches!(detail.call.usage_source.as_str(), "reported" | "")).then(|| view! {
                <p class="note warn">{format!("The usage is {}: the provider did not report it in full.", detail.call.usage_source)}</p>
            })}
        </section>
    }
    .into_any()
}

fn facts(detail: &CallDetail) -> impl IntoView + use<> {
    let call = &detail.call;
    let all = [
        ("Operation", call.operation.clone()),
        ("Provider", call.provider.clone()),
        ("Answered by", call.response_model.clone()),
        ("Route", call.route.clone()),
        ("Tier", call.tier.clone()),
        ("Attempts", call.attempts.to_string()),
        ("Streamed", String::from(if call.stream { "yes" } else { "no" })),
        ("Finish", call.finish_reason.clone()),
        ("Cache", call.cache_status.clone()),
        ("Saved", if call.cache_saved == Usd::ZERO { String::new() } else { format::usd(call.cache_saved) }),
        ("Cascade's score", call.cascade_score.map_or_else(String::new, |score| format!("{score:.3}"))),
        ("Tenant", call.tenant_id.clone()),
        ("Key", call.key_id.clone()),
        ("Request id", call.request_id.clone()),
        ("Trace id", call.trace_id.clone()),
        ("Price book", detail.price_book_version.clone()),
    ];
    let rows = all
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| view! { <dt>{name}</dt><dd class="breakable">{value}</dd> })
        .collect_view();
    view! {
        <section class="card">
            <h2>"Facts"</h2>
            <dl class="facts">{rows}</dl>
        </section>
    }
    .into_any()
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn span_details(span: &SpanView, open: bool) -> impl IntoView + use<> {
    let events = span
        .events
        .iter()
        .map(|event| {
            let after = event.time_ns.saturating_sub(span.start_ns) as f64 / 1e6;
            let pairs = pairs(&event.attributes);
            view! {
                <li>
                    <b>{event.name.clone()}</b>
                    <span class="quiet-note num">{format!("after {}", format::duration(after.max(0.0)))}</span>
                    {pairs}
                </li>
            }
        })
        .collect_view();
    let message = span.status_message.clone();
    view! {
        <details class="fold span" id=format!("span-{}", span.span_id) open=open>
            <summary>
                <b>{span.name.clone()}</b>
                <span class="quiet-note">{format!("{} · {}", span.kind, span.service)}</span>
                <span class="quiet-note num">{format::duration(span.duration_ns as f64 / 1e6)}</span>
            </summary>
            {(!message.is_empty()).then(|| view! { <p class="note bad">{message}</p> })}
            {pairs(&span.attributes)}
            {(!span.events.is_empty()).then(|| view! { <h3>"Events"</h3><ul class="events">{events}</ul> })}
            {(!span.resource.is_empty()).then(|| view! { <h3>"Resource"</h3> })}
            {pairs(&span.resource)}
        </details>
    }
    .into_any()
}

fn pairs(map: &BTreeMap<String, String>) -> impl IntoView + use<> {
    let rows = map
        .iter()
        .map(|(name, value)| {
            view! {
                <dt class="breakable">{name.clone()}</dt>
                <dd class="breakable">{value.chars().take(4_000).collect::<String>()}</dd>
            }
        })
        .collect_view();
    view! { <dl class="facts mono">{rows}</dl> }
}
