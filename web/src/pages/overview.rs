//! Overview: how the platform does, over a stretch of time and against the one before.

use crate::api::Problem;
use crate::api::types::{Me, OverviewAnswer, SignalsAnswer};
use crate::components::chart::{Chart, Mark, Series, Unit};
use crate::components::empty::FirstCall;
use crate::components::figures::Count;
use crate::components::filters::FilterBar;
use crate::components::frame::use_viewer;
use crate::components::groups::{ErrorTable, GroupTable};
use crate::components::kpi::{Better, Kpi};
use crate::components::live::LiveSwitch;
use crate::components::loading::loaded;
use crate::components::range::RangePicker;
use crate::components::signals::SignalTiles;
use crate::components::url::{use_query, use_search};
use crate::query::Query;
use crate::{api, format};
use contracts::reads::{Bucket, Outcome, Overview, Totals};
use leptos::prelude::*;
use leptos_meta::Title;

/// Of so many refreshes one reads the golden signals again: they may be of single calls, of which there are many.
const SIGNALS_EVERY: u32 = 12;

/// The Overview page.
#[component]
pub(crate) fn OverviewPage() -> impl IntoView {
    let search = use_search(|path| path == "/");
    let (query, me) = (use_query(search), use_viewer());
    let overview = Resource::new(move || search.get(), api::overview);
    let signals = Resource::new(move || search.get(), api::signals);
    let turn = StoredValue::new(0_u32);
    let refresh = Callback::new(move |()| {
        overview.refetch();
        if turn.get_value().is_multiple_of(SIGNALS_EVERY) {
            signals.refetch();
        }
        turn.update_value(|turn| *turn = turn.wrapping_add(1));
    });
    view! {
        <Title text="Overview · Control Tower"/>
        <header class="page-head">
            <h1>"Overview"</h1>
            <div class="page-tools">
                <LiveSwitch refresh/>
                <RangePicker path="/" query/>
            </div>
        </header>
        {loaded(me, move |me| view! { <FilterBar path="/" query me/> }.into_any())}
        {loaded(
            overview,
            move |answer| {
                let query = query.get_untracked();
                let me = me.get_untracked().and_then(Result::ok).unwrap_or_default();
                content(answer, signals, query, &me)
            },
        )}
    }
    .into_any()
}

fn content(
    answer: OverviewAnswer,
    signals: Resource<Result<Option<SignalsAnswer>, Problem>>,
    query: Query,
    me: &Me,
) -> AnyView {
    let Overview { totals, previous, bucket_seconds, series, by_model, by_tenant, by_error, shares } =
        answer.overview;
    if totals.calls == 0 {
        return view! { <FirstCall gateway_url=me.gateway_url.clone()/> }.into_any();
    }
    let several = by_tenant.len() > 1;
    let failed = {
        let mut failed = query.clone();
        failed.filter.outcome = Some(Outcome::Error);
        format!("/calls{}", failed.to_search())
    };
    let to_calls = |name: &'static str| {
        let query = query.clone();
        Callback::new(move |value: String| format!("/calls{}", query.only(name, &value).to_search()))
    };
    let estimated = format::share(totals.estimated, totals.calls);
    view! {
        {kpis(&totals, &previous, &series)}
        <SignalTiles signals first_token_p50_ms=totals.ttft_p50_ms/>
        <div class="charts">{charts(&series, bucket_seconds)}</div>
        <dl class="shares card">
            {share("Cache reads", shares.cache_read_share, "Input tokens read from a provider's cache, of all input tokens")}
            {share("Estimated usage", estimated, "Calls whose tokens were estimated or partial rather than reported")}
            {(totals.unpriced > 0).then(|| view! {
                <div title="Calls with usage for which the price book has no price: they count as zero in the cost">
                    <dt>"Unpriced calls"</dt>
                    <dd class="num unpriced"><Count n=totals.unpriced/></dd>
                </div>
            })}
        </dl>
        <div class="tables">
            <GroupTable title="Model" groups=by_model href=to_calls("model")/>
            {several.then(|| view! { <GroupTable title="Tenant" groups=by_tenant href=to_calls("tenant")/> })}
            <ErrorTable groups=by_error href=failed/>
        </div>
    }
    .into_any()
}

fn share(name: &'static str, share: Option<f64>, title: &'static str) -> impl IntoView {
    view! {
        <div title=title>
            <dt>{name}</dt>
            <dd class="num">{format::percent(share)}</dd>
        </div>
    }
    .into_any()
}

#[expect(clippy::cast_precision_loss, reason = "counts as points of a chart")]
fn kpis(now: &Totals, before: &Totals, series: &[Bucket]) -> impl IntoView + use<> {
    let shape =
        |value: fn(&Totals) -> Option<f64>| series.iter().map(|b| value(&b.totals)).collect::<Vec<_>>();
    let change = |value: fn(&Totals) -> Option<f64>| {
        value(now).zip(value(before)).and_then(|(now, before)| format::change(now, before))
    };
    let calls = |t: &Totals| Some(t.calls as f64);
    let errors = |t: &Totals| format::share(t.errors, t.calls);
    let cost = |t: &Totals| Some(t.cost.to_f64_for_display());
    let tokens = |t: &Totals| Some(t.usage.total() as f64);
    let exact = |ms: Option<f64>| ms.map(|ms| format!("{ms:.3} ms")).unwrap_or_default();
    let token_title =
        format!("{} in, {} out", format::grouped(now.usage.input), format::grouped(now.usage.output));
    view! {
        <dl class="kpis">
            <Kpi label="Calls" value=format::count(now.calls) title=format::grouped(now.calls)
                change=change(calls) before=format::count(before.calls) better=Better::Neither shape=shape(calls)/>
            <Kpi label="Error rate" value=format::percent(errors(now)) title=format!("{} failed", format::grouped(now.errors))
                change=change(errors) before=format::percent(errors(before)) better=Better::Lower shape=shape(errors)/>
            <Kpi label="Cost" value=format::usd(now.cost) title=format::exact_usd(now.cost)
                change=change(cost) before=format::usd(before.cost) better=Better::Neither shape=shape(cost)/>
            <Kpi label="Tokens" value=format::count(now.usage.total()) title=token_title
                change=change(tokens) before=format::count(before.usage.total()) better=Better::Neither shape=shape(tokens)/>
            <Kpi label="Latency p50" value=format::maybe_duration(now.duration_p50_ms) title=exact(now.duration_p50_ms)
                change=change(|t| t.duration_p50_ms) before=format::maybe_duration(before.duration_p50_ms)
                better=Better::Lower shape=shape(|t| t.duration_p50_ms)/>
            <Kpi label="Latency p95" value=format::maybe_duration(now.duration_p95_ms) title=exact(now.duration_p95_ms)
                change=change(|t| t.duration_p95_ms) before=format::maybe_duration(before.duration_p95_ms)
                better=Better::Lower shape=shape(|t| t.duration_p95_ms)/>
            <Kpi label="First token p95" value=format::maybe_duration(now.ttft_p95_ms) title=exact(now.ttft_p95_ms)
                change=change(|t| t.ttft_p95_ms) before=format::maybe_duration(before.ttft_p95_ms)
                better=Better::Lower shape=shape(|t| t.ttft_p95_ms)/>
        </dl>
    }
    .into_any()
}

#[expect(clippy::cast_precision_loss, reason = "counts as points of a chart")]
fn charts(series: &[Bucket], bucket: u32) -> impl IntoView + use<> {
    let starts: Vec<i64> = series.iter().map(|b| b.start_ms).collect();
    let line = |label, color, mark, value: fn(&Totals) -> Option<f64>| Series {
        label,
        color,
        mark,
        values: series.iter().map(|b| value(&b.totals)).collect(),
    };
    let calls = vec![
        line("Succeeded", "--chart-1", Mark::Bar, |t| Some(t.calls.saturating_sub(t.errors) as f64)),
        line("Failed", "--chart-bad", Mark::Bar, |t| Some(t.errors as f64)),
    ];
    let cost = vec![line("Cost", "--chart-2", Mark::Area, |t| Some(t.cost.to_f64_for_display()))];
    let latency = vec![
        line("p50", "--chart-1", Mark::Line, |t| t.duration_p50_ms),
        line("p95", "--chart-3", Mark::Line, |t| t.duration_p95_ms),
        line("p99", "--chart-4", Mark::Line, |t| t.duration_p99_ms),
    ];
    let first_token = vec![
        line("p50", "--chart-1", Mark::Line, |t| t.ttft_p50_ms),
        line("p95", "--chart-3", Mark::Line, |t| t.ttft_p95_ms),
    ];
    view! {
        <Chart title="Calls" unit=Unit::Count bucket starts_ms=starts.clone() series=calls/>
        <Chart title="Cost" unit=Unit::Usd bucket starts_ms=starts.clone() series=cost/>
        <Chart title="Latency" unit=Unit::Ms bucket starts_ms=starts.clone() series=latency/>
        <Chart title="Time to first token" unit=Unit::Ms bucket starts_ms=starts series=first_token/>
    }
    .into_any()
}
