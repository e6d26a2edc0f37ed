//! What waits before pools, by band, and in each band by tenant.

use super::{DIM, WARN, are_several};
use crate::figures;
use crate::sheet::{Cell, Column, Row, Sheet};
use contracts::live::{BandView, GatewayLive, Live, PoolLive, QueueView};
use ratatui::style::Style;
use std::cmp::Reverse;

/// A band, and where it is one.
type Place<'a> = (&'a GatewayLive, &'a PoolLive, &'a BandView);

pub(super) fn sheet(live: &Live, order: &str) -> Sheet {
    let mut bands: Vec<Place<'_>> = Vec::new();
    for gateway in live.answered() {
        for pool in &gateway.pools {
            // A band that nobody ever used tells nothing, but a pool has a row at least.
            let used = |band: &&BandView| band.started + band.refused.total() > 0 || band.waiting > 0;
            let shown: Vec<&BandView> = pool.queue.bands.iter().filter(used).collect();
            let shown = if shown.is_empty() { vec![&pool.queue.bands[1]] } else { shown };
            bands.extend(shown.into_iter().map(|band| (gateway, pool, band)));
        }
    }
    match order {
        "waiting" => bands.sort_by_key(|(_, _, band)| Reverse(band.waiting)),
        "wait" => bands.sort_by_key(|(_, _, band)| Reverse(band.longest_wait_ms)),
        _ => bands.sort_by_key(|(gateway, pool, band)| (&pool.model, band.band, &gateway.instance)),
    }
    let gateway = are_several(live).then_some(Column::text("GATEWAY", 16));
    let columns = [Column::text("MODEL, tenant", 24)].into_iter().chain(gateway).chain([
        Column::text("BAND", 13),
        Column::figures("RUNNING"),
        Column::figures("LIMIT"),
        Column::figures("WAITING"),
        Column::figures("LONGEST"),
        Column::figures("REFUSED").missed(1),
    ]);
    let rows = bands.into_iter().flat_map(|place| rows(place, gateway.is_some()));
    Sheet {
        columns: columns.collect(),
        rows: rows.collect(),
        nothing: "no model has a pool",
        ..Sheet::default()
    }
}

fn rows((gateway, pool, band): Place<'_>, are_several: bool) -> Vec<Row> {
    let queue = &pool.queue;
    let wait = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), figures::duration);
    let style = if band.waiting > 0 { WARN } else { Style::new() };
    let running = if queue.concurrency.is_some() { band.running.into() } else { queue.running };
    let mut cells: Vec<Cell> = vec![pool.model.as_str().into()];
    cells.extend(are_several.then(|| gateway.instance.as_str().into()));
    cells.extend([
        band.band.as_str().into(),
        running.to_string().into(),
        queue.concurrency.map_or_else(|| "none".to_owned(), |limit| limit.to_string()).into(),
        Cell::from(band.waiting.to_string()).in_style(style),
        Cell::from(wait(band.longest_wait_ms)).in_style(style),
        figures::count(band.refused.total()).into(),
    ]);
    let mut rows = vec![Row { cells, note: Cell::from(pace(queue, band)).in_style(DIM) }];
    rows.extend(band.tenants.iter().map(|tenant| {
        let mut cells: Vec<Cell> = vec![format!("  {}", tenant.tenant).into()];
        cells.extend(are_several.then(Cell::default));
        cells.extend([
            format!("  weight {}", tenant.weight).into(),
            tenant.running.to_string().into(),
            Cell::default(),
            tenant.waiting.to_string().into(),
            wait(tenant.longest_wait_ms).into(),
            Cell::default(),
        ]);
        Row { cells, note: Cell::default() }
    }));
    rows
}

fn pace(queue: &QueueView, band: &BandView) -> String {
    let turns = band.interval_ms.map(|ms| format!("one starts every {}", figures::duration(ms)));
    let typical = queue.typical_call_ms.map(|ms| format!("calls take {}", figures::duration(ms)));
    turns.into_iter().chain(typical).collect::<Vec<_>>().join(", ")
}
