//! The spans of a trace over time: one bar a span, indented below its parent.

use super::badge::{Badge, Tone};
use crate::format;
use contracts::reads::SpanView;
use leptos::prelude::*;
use std::collections::{HashMap, HashSet};

/// Spans shown at most; a trace of thousands would say nothing.
const MOST: usize = 300;

/// A span and how deep it lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The span's place in the trace's list.
    pub(crate) index: usize,
    /// How many parents it has within the trace.
    pub(crate) depth: usize,
}

/// Spans depth-first, children by start, whatever order they came in. A span whose parent is missing, or that is its own
/// ancestor, counts as a root.
pub(crate) fn rows(spans: &[SpanView]) -> Vec<Row> {
    let by_id: HashMap<&str, usize> =
        spans.iter().enumerate().map(|(i, s)| (s.span_id.as_str(), i)).collect();
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (i, span) in spans.iter().enumerate() {
        let parent = by_id.get(span.parent_span_id.as_str()).copied().filter(|p| *p != i);
        children.entry(parent).or_default().push(i);
    }
    for list in children.values_mut() {
        list.sort_by_key(|i| spans[*i].start_ns);
    }
    let mut rows = Vec::with_capacity(spans.len());
    let mut seen = HashSet::new();
    let roots = children.get(&None).cloned().unwrap_or_default();
    // Those left over after the roots lie on a cycle.
    for start in roots.into_iter().chain(0..spans.len()) {
        let mut open = vec![(start, 0)];
        while let Some((index, depth)) = open.pop() {
            if !seen.insert(index) {
                continue;
            }
            rows.push(Row { index, depth });
            let below = children.get(&Some(index)).into_iter().flatten().rev();
            open.extend(below.map(|child| (*child, depth + 1)));
        }
    }
    rows
}

/// The trace as a waterfall; `call` is the span that the page is about.
#[component]
pub(crate) fn Waterfall(spans: Vec<SpanView>, call: String) -> impl IntoView {
    let start = spans.iter().map(|s| s.start_ns).min().unwrap_or(0);
    let end = spans.iter().map(end_ns).max().unwrap_or(start);
    let length = u64::try_from(end.saturating_sub(start)).unwrap_or(0).max(1);
    let order = rows(&spans);
    let hidden = order.len().saturating_sub(MOST);
    let bars = order
        .into_iter()
        .take(MOST)
        .map(|row| {
            let span = &spans[row.index];
            bar(span, row.depth, start, length, span.span_id == call)
        })
        .collect_view();
    view! {
        <div class="waterfall">
            <div class="ruler num" aria-hidden="true">
                <span>"0"</span>
                <span>{format::duration(millis(length) / 2.0)}</span>
                <span>{format::duration(millis(length))}</span>
            </div>
            <ol>{bars}</ol>
            {(hidden > 0).then(|| view! { <p class="quiet-note">{format!("{hidden} more spans are not drawn.")}</p> })}
        </div>
    }
    .into_any()
}

fn bar(span: &SpanView, depth: usize, start: i64, length: u64, is_call: bool) -> impl IntoView + use<> {
    let offset = u64::try_from(span.start_ns.saturating_sub(start)).unwrap_or(0);
    let left = share(offset, length) * 1000.0;
    // A bar too short to see would be a lie of another kind.
    let width = (share(span.duration_ns, length) * 1000.0).max(4.0).min(1000.0 - left.min(996.0));
    let tone = if span.status == "error" { "bar bad" } else { bar_class(&span.kind) };
    let shown = format::duration(millis(span.duration_ns));
    view! {
        <li class:current=is_call>
            <a class="wf-name" href=format!("#span-{}", span.span_id) style=format!("--depth:{}", depth.min(12))>
                <span class="clip" title=span.name.clone()>{span.name.clone()}</span>
                <small class="clip">{span.service.clone()}</small>
                {(span.status == "error").then(|| view! { <Badge tone=Tone::Bad text="error"/> })}
            </a>
            <svg class="wf-track" viewBox="0 0 1000 20" preserveAspectRatio="none" aria-hidden="true">
                <rect class=tone x=format!("{left:.1}") y="3" width=format!("{width:.1}") height="14" rx="2"></rect>
            </svg>
            <span class="wf-time num">{shown}</span>
        </li>
    }
    .into_any()
}

fn bar_class(kind: &str) -> &'static str {
    match kind {
        "server" => "bar server",
        "client" => "bar client",
        _ => "bar",
    }
}

fn end_ns(span: &SpanView) -> i64 {
    span.start_ns.saturating_add_unsigned(span.duration_ns)
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn share(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, start_ns: i64) -> SpanView {
        SpanView { span_id: id.into(), parent_span_id: parent.into(), start_ns, ..SpanView::default() }
    }

    fn order(spans: &[SpanView]) -> Vec<(String, usize)> {
        rows(spans).into_iter().map(|r| (spans[r.index].span_id.clone(), r.depth)).collect()
    }

    #[test]
    fn children_follow_their_parent_by_start() {
        let spans = [span("c", "a", 30), span("b", "a", 20), span("a", "outside", 10), span("d", "b", 25)];
        let expected = [("a", 0), ("b", 1), ("d", 2), ("c", 1)].map(|(id, depth)| (String::from(id), depth));
        assert_eq!(order(&spans), expected);
    }

    #[test]
    fn a_cycle_is_drawn_once() {
        let spans = [span("a", "b", 1), span("b", "a", 2), span("c", "c", 3)];
        assert_eq!(rows(&spans).len(), 3);
    }
}
