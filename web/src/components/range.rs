//! Choosing the stretch of time: six presets as links, and a fixed one as a form. Both work without scripts.

use crate::query::{PRESETS, Query, Span};
use crate::when;
use leptos::prelude::*;

/// The time range of the page, kept in its URL.
#[component]
pub(crate) fn RangePicker(
    /// Path of the page.
    path: &'static str,
    /// The question in its URL.
    query: Memo<Query>,
) -> impl IntoView {
    let presets = PRESETS
        .into_iter()
        .map(|preset| {
            let href = move || {
                let search = query.with(|q| q.with_span(Span::Last(preset)).to_search());
                format!("{path}{search}")
            };
            let current = move || query.with(|q| q.span == Span::Last(preset)).then_some("true");
            view! {
                <a href=href aria-current=current title=format!("The last {}", preset.words)>{preset.name}</a>
            }
        })
        .collect_view();
    view! {
        <div class="range">
            <nav class="segments" aria-label="Time range">{presets}</nav>
            <details class="popover" name="popover">
                <summary class="button" class:active=move || query.with(|q| matches!(q.span, Span::Fixed(_)))>
                    "Custom"
                </summary>
                {move || query.with(|q| fixed_form(path, q))}
            </details>
        </div>
    }
    .into_any()
}

fn fixed_form(path: &'static str, query: &Query) -> impl IntoView + use<> {
    let value = |ms: Option<i64>| ms.map(|ms| when::rfc3339(ms).chars().take(16).collect::<String>());
    let (from, to) = match query.span {
        Span::Fixed(range) => (Some(range.from_ms), Some(range.to_ms)),
        Span::Last(_) => (None, None),
    };
    let kept = query
        .filter_pairs()
        .into_iter()
        .map(|(name, value)| view! { <input type="hidden" name=name value=value/> })
        .collect_view();
    view! {
        <form class="popover-body stack" method="get" action=path>
            {kept}
            <label class="field">
                <span>"From (UTC)"</span>
                <input type="datetime-local" name="from" value=value(from) required/>
            </label>
            <label class="field">
                <span>"To (UTC)"</span>
                <input type="datetime-local" name="to" value=value(to) required/>
            </label>
            <button class="button primary">"Apply"</button>
        </form>
    }
    .into_any()
}
