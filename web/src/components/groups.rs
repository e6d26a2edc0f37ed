//! What something splits into: one row a group, a bar for its share of the cost, a link to its calls.

use super::figures::{Count, Duration, Money};
use crate::format;
use contracts::Usd;
use contracts::reads::Group;
use leptos::prelude::*;

/// A table of groups, dearest first.
#[component]
pub(crate) fn GroupTable(
    /// What the groups are, such as `Model`.
    title: &'static str,
    /// The groups, dearest first.
    groups: Vec<Group>,
    /// Where the calls of a group are listed.
    href: Callback<String, String>,
) -> impl IntoView {
    let top = groups.iter().map(|g| g.totals.cost).max().unwrap_or_default();
    let rows = groups.into_iter().map(|group| row(group, top, href)).collect_view();
    view! {
        <section class="card table-card">
            <h2>{format!("By {}", title.to_lowercase())}</h2>
            <div class="scroll-x" tabindex="0" role="region" aria-label=format!("By {}", title.to_lowercase())>
                <table class="grid">
                    <thead>
                        <tr>
                            <th scope="col">{title}</th>
                            <th scope="col" class="right">"Calls"</th>
                            <th scope="col" class="right">"Errors"</th>
                            <th scope="col" class="right">"Tokens"</th>
                            <th scope="col" class="right">"p95"</th>
                            <th scope="col" class="right">"Cost"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}

fn row(group: Group, top: Usd, href: Callback<String, String>) -> impl IntoView {
    let Group { name, totals } = group;
    let shown = if name.is_empty() { String::from("unknown") } else { name.clone() };
    let error_rate = format::share(totals.errors, totals.calls);
    view! {
        <tr>
            <th scope="row" class="bar-cell">
                <CostBar cost=totals.cost top/>
                <a class="clip" title=shown.clone() href=href.run(name)>{shown.clone()}</a>
            </th>
            <td class="right"><Count n=totals.calls/></td>
            <td class="right" class:bad=totals.errors.gt(&0)>
                <span class="num" title=format::grouped(totals.errors)>{format::percent(error_rate)}</span>
            </td>
            <td class="right"><Count n=totals.usage.total()/></td>
            <td class="right"><Duration ms=totals.duration_p95_ms/></td>
            <td class="right strong"><Money amount=totals.cost/></td>
        </tr>
    }
    .into_any()
}

/// The share that `cost` is of the dearest group's.
#[component]
fn CostBar(cost: Usd, top: Usd) -> impl IntoView {
    let share = if top > Usd::ZERO { cost.to_f64_for_display() / top.to_f64_for_display() } else { 0.0 };
    view! {
        <svg class="cost-bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
            <rect width=format!("{:.1}", share * 100.0) height="4"></rect>
        </svg>
    }
    .into_any()
}

/// Failures by class.
#[component]
pub(crate) fn ErrorTable(
    /// The classes, most frequent first.
    groups: Vec<Group>,
    /// Where failed calls are listed.
    href: String,
) -> impl IntoView {
    let top = groups.iter().map(|g| g.totals.calls).max().unwrap_or(0);
    let none = groups.is_empty();
    let rows = groups
        .into_iter()
        .map(|group| {
            let share = format::share(group.totals.calls, top).unwrap_or(0.0);
            view! {
                <li>
                    <svg class="cost-bar bad" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
                        <rect width=format!("{:.1}", share * 100.0) height="4"></rect>
                    </svg>
                    <code class="clip">{group.name}</code>
                    <Count n=group.totals.calls/>
                </li>
            }
        })
        .collect_view();
    view! {
        <section class="card table-card">
            <h2>"Errors by class"</h2>
            {if none {
                view! { <p class="quiet-note">"No call failed in this range."</p> }.into_any()
            } else {
                view! {
                    <ul class="error-list">{rows}</ul>
                    <a class="more" href=href>"Failed calls"</a>
                }
                    .into_any()
            }}
        </section>
    }
    .into_any()
}
