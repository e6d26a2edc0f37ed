//! Deployments, and how they do. Breakers are each gateway's own, so each has rows of its own.

use super::{BAD, DIM, WARN, are_several};
use crate::figures;
use crate::sheet::{Cell, Column, Row, Sheet};
use contracts::live::{DeploymentState, DeploymentView, GatewayLive, Live, LoadSample, PoolLive};
use ratatui::style::Style;
use std::cmp::Reverse;

/// What was told longer ago is said to be old: a few times the usual pause between two looks.
const STALE_MS: u64 = 10_000;

/// A deployment, and where it is one.
type Place<'a> = (&'a GatewayLive, &'a PoolLive, &'a DeploymentView);

pub(super) fn sheet(live: &Live, order: &str) -> Sheet {
    let mut all: Vec<Place<'_>> = Vec::new();
    for gateway in live.answered() {
        for pool in &gateway.pools {
            all.extend(pool.health.deployments.iter().map(|one| (gateway, pool, one)));
        }
    }
    match order {
        "state" => all.sort_by_key(|(_, _, one)| Reverse(urgency(one.state))),
        "calls" => all.sort_by_key(|(_, _, one)| Reverse(one.outstanding)),
        "latency" => all.sort_by(|(_, _, a), (_, _, b)| latency(b).total_cmp(&latency(a))),
        _ => all.sort_by_key(|(gateway, pool, one)| (&pool.model, &one.id, &gateway.instance)),
    }
    let gateway = are_several(live).then_some(Column::text("GATEWAY", 16));
    let columns =
        [Column::text("MODEL", 24), Column::text("DEPLOYMENT", 20)].into_iter().chain(gateway).chain([
            Column::text("STATE", 13),
            Column::figures("CALLS"),
            Column::figures("1ST BYTE"),
            Column::figures("WHOLE").missed(1),
            Column::text("LOAD", 32),
        ]);
    let rows = all.into_iter().map(|place| row(place, gateway.is_some()));
    Sheet {
        columns: columns.collect(),
        rows: rows.collect(),
        nothing: "no model has a pool",
        ..Sheet::default()
    }
}

fn row((gateway, pool, one): Place<'_>, are_several: bool) -> Row {
    let (mark, style) = mark(one.state);
    let load = one.load.as_ref().map_or_else(|| "-".to_owned(), |load| told(load, one.load_age_ms));
    let mut cells: Vec<Cell> = vec![pool.model.as_str().into(), one.id.as_str().into()];
    cells.extend(are_several.then(|| gateway.instance.as_str().into()));
    cells.extend([
        Cell::from(format!("{mark} {}", one.state.as_str())).in_style(style),
        one.outstanding.to_string().into(),
        figures::millis(one.first_byte_ms).into(),
        figures::millis(one.whole_ms).into(),
        load.into(),
    ]);
    let note = why(pool.health.panic, one);
    Row { cells, note: Cell::from(note).in_style(if one.state == DeploymentState::In { DIM } else { style }) }
}

/// A sign for each state, so that it is seen without colour.
const fn mark(state: DeploymentState) -> (&'static str, Style) {
    match state {
        DeploymentState::In => ("+", Style::new()),
        DeploymentState::SlowStart => ("^", WARN),
        DeploymentState::Stalled => ("?", WARN),
        DeploymentState::BackingOff => ("-", WARN),
        DeploymentState::Out => ("x", BAD),
        DeploymentState::Trial => ("~", WARN),
        DeploymentState::Draining => (".", DIM),
    }
}

const fn urgency(state: DeploymentState) -> u8 {
    match state {
        DeploymentState::Out => 6,
        DeploymentState::Trial => 5,
        DeploymentState::Stalled => 4,
        DeploymentState::BackingOff => 3,
        DeploymentState::SlowStart => 2,
        DeploymentState::In => 1,
        DeploymentState::Draining => 0,
    }
}

fn latency(one: &DeploymentView) -> f64 {
    one.first_byte_ms.or(one.whole_ms).unwrap_or(-1.0)
}

/// What a server and its GPUs told: `w3 r12 kv85% gpu97%`.
fn told(load: &LoadSample, age_ms: Option<u64>) -> String {
    let calls = |mark: &str, count: Option<f64>| count.map(|count| format!("{mark}{count:.0}"));
    let share =
        |mark: &str, share: Option<f64>| share.map(|share| format!("{mark}{}", figures::percent(share)));
    let parts = [
        calls("w", load.waiting),
        calls("r", load.running),
        share("kv", load.kv_cache),
        share("gpu", load.gpu_busy),
        share("mem", load.gpu_memory),
        age_ms.filter(|age| *age > STALE_MS).map(|age| format!("({} old)", figures::duration(age))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Why it gets no calls, or did not lately, and when it is tried again.
fn why(panic: bool, one: &DeploymentView) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(ms) = one.ready_in_ms {
        parts.push(format!("next try in {}", figures::duration(ms)));
    } else if one.state == DeploymentState::Trial {
        parts.push("tried call by call".to_owned());
    }
    if let Some(ms) = one.silent_ms.filter(|_| one.state == DeploymentState::Stalled) {
        parts.push(format!("silent for {}", figures::duration(ms)));
    }
    let is_of_now = one.state != DeploymentState::In;
    parts.extend(one.why.as_ref().map(|why| if is_of_now { why.clone() } else { format!("last: {why}") }));
    if one.state == DeploymentState::SlowStart {
        parts.push(format!("at {} of its share", figures::percent(one.ramp)));
    }
    if panic {
        parts.push("so many are out that all get calls".to_owned());
    }
    parts.join(", ")
}
