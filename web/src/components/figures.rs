//! Figures in text: short on the page, exact in the title.

use crate::format;
use contracts::Usd;
use leptos::prelude::*;

/// An amount of money.
#[component]
pub(crate) fn Money(amount: Usd) -> impl IntoView {
    view! { <span class="num" title=format::exact_usd(amount)>{format::usd(amount)}</span> }
}

/// A count.
#[component]
pub(crate) fn Count(n: u64) -> impl IntoView {
    view! { <span class="num" title=format::grouped(n)>{format::count(n)}</span> }
}

/// A stretch of milliseconds.
#[component]
pub(crate) fn Duration(ms: Option<f64>) -> impl IntoView {
    let title = ms.map(|ms| format!("{ms} ms"));
    view! { <span class="num" title=title>{format::maybe_duration(ms)}</span> }
}
