//! One golden signal: its value, how it moved against the stretch of time before, and its shape.

use super::spark::Sparkline;
use crate::format;
use leptos::prelude::*;

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Less of it.
    Lower,
    /// Neither.
    Neither,
}

/// A card of the Overview's first row.
#[component]
pub(crate) fn Kpi(
    /// What it is.
    label: &'static str,
    /// Its value as text.
    value: String,
    /// Its exact value.
    #[prop(into)]
    title: String,
    /// Against the stretch before; `None` when there is nothing to compare with.
    change: Option<f64>,
    /// Its value in the stretch before, as text.
    before: String,
    /// Which way is good.
    better: Better,
    /// Its shape over the range.
    shape: Vec<Option<f64>>,
) -> impl IntoView {
    let delta = match change {
        Some(change) if change.abs() >= 0.0005 => {
            let tone = match (better, change > 0.0) {
                // A drift this small is no news, good or bad.
                _ if change.abs() < 0.02 => "delta",
                (Better::Neither, _) => "delta",
                (Better::Lower, false) => "delta good",
                (Better::Lower, true) => "delta bad",
            };
            view! { <span class=tone>{format::signed_percent(change)}</span> }.into_any()
        }
        Some(_) => view! { <span class="delta">"unchanged"</span> }.into_any(),
        None => view! { <span class="delta">"–"</span> }.into_any(),
    };
    view! {
        <div class="card kpi">
            <dt>{label}</dt>
            <dd class="kpi-value num" title=title>{value}</dd>
            <dd class="kpi-delta" title=format!("{before} in the same stretch before")>{delta}</dd>
            <Sparkline values=shape/>
        </div>
    }
    .into_any()
}
