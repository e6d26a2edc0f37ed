//! The gateways themselves: what goes through each, what waits in it, and who does not answer.

use super::{BAD, DIM, WARN};
use crate::figures;
use crate::sheet::{Cell, Column, Row, Sheet};
use contracts::live::{GatewayAnswer, GatewayLive, Live};
use ratatui::style::Style;
use std::cmp::Reverse;

/// A record that waits longer than this waits for a collector that is gone.
const LATE_MS: u64 = 10_000;

pub(super) fn sheet(live: &Live, order: &str) -> Sheet {
    let mut answers: Vec<&GatewayAnswer> = live.gateways.iter().collect();
    let of = |answer: &GatewayAnswer, key: fn(&GatewayLive) -> u64| answer.live.as_deref().map(key);
    match order {
        "calls" => {
            answers.sort_by_key(|answer| Reverse(of(answer, |live| live.traffic.last_10_s.totals.calls)));
        }
        "spool" => answers.sort_by_key(|answer| Reverse(of(answer, |live| live.spool.pending_bytes))),
        _ => {}
    }
    Sheet {
        columns: vec![
            Column::text("GATEWAY", 28),
            Column::figures("UP"),
            Column::figures("POLICY"),
            Column::figures("RUNNING"),
            Column::figures("CALLS/S"),
            Column::figures("SPOOLED"),
            Column::figures("STREAMS").missed(1),
        ],
        rows: answers.into_iter().map(row).collect(),
        nothing: "no gateway is configured: [web] gateways",
        ..Sheet::default()
    }
}

fn row(answer: &GatewayAnswer) -> Row {
    let Some(live) = answer.live.as_deref() else {
        let error = answer.error.as_deref().unwrap_or("it does not answer");
        let mut cells: Vec<Cell> = vec![answer.url.as_str().into()];
        cells.resize(7, "-".into());
        return Row { cells, note: Cell::from(error).in_style(BAD) };
    };
    let lately = &live.traffic.last_10_s;
    let is_late = live.spool.pending_bytes > 0 && live.spool.oldest_ms > LATE_MS;
    let (notes, style) = notes(live, is_late);
    let cells = vec![
        live.instance.as_str().into(),
        figures::duration(live.up_ms).into(),
        live.policy.version.to_string().into(),
        live.traffic.in_flight.to_string().into(),
        figures::rate(lately.a_second(lately.totals.calls)).into(),
        Cell::from(figures::bytes(live.spool.pending_bytes)).in_style(if is_late {
            WARN
        } else {
            Style::new()
        }),
        figures::count(live.streams.kept).into(),
    ];
    Row { cells, note: Cell::from(notes).in_style(style) }
}

/// What is remarkable about a gateway.
fn notes(live: &GatewayLive, is_late: bool) -> (String, Style) {
    let mut notes = Vec::new();
    if !live.policy.unreadable.is_empty() {
        notes.push(format!("{} policies unreadable", live.policy.unreadable.len()));
    }
    if let Some(error) = &live.policy.error {
        notes.push(format!("policy {} old: {error}", figures::duration(live.policy.age_ms)));
    }
    if is_late {
        notes.push(format!("records wait for {}", figures::duration(live.spool.oldest_ms)));
    }
    if live.spool.dropped > 0 {
        notes.push(format!("{} records dropped", figures::count(live.spool.dropped)));
    }
    if live.flood.held_up > 0 {
        notes.push(format!("{} addresses held up", figures::count(live.flood.held_up)));
    }
    if notes.is_empty() { (format!("version {}", live.version), DIM) } else { (notes.join(", "), WARN) }
}
