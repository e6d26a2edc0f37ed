//! Figures in text: short on the page, exact in the title.

use crate::format;
use contracts::Usd;
use contracts::reads::CallRow;
use leptos::prelude::*;

/// An amount of money.
#[component]
pub(crate) fn Money(amount: Usd) -> impl IntoView {
    view! { <span class="num" title=format::exact_usd(amount)>{format::usd(amount)}</span> }
}

/// What a call cost, or that nobody knows: its price is missing, which is not the same as free.
#[component]
pub(crate) fn Cost(call: CallRow) -> impl IntoView {
    if call.priced {
        return view! { <Money amount=call.cost/> }.into_any();
    }
    let title = "Unpriced: the price book has no price for this model, so the call counts as zero in sums";
    view! { <span class="unpriced" title=title>"unpriced"</span> }.into_any()
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
