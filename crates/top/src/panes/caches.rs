//! Answers that are given again: how often, what that saves, and whose they are.

use crate::figures;
use crate::sheet::{Cell, Column, Row, Sheet};
use contracts::live::{Live, ShelfLive};
use std::cmp::Reverse;

pub(super) fn sheet(live: &Live, order: &str) -> Sheet {
    let cache = &live.cache;
    let rate = cache.hit_rate().map_or_else(|| "-".to_owned(), figures::percent);
    let looks = format!(
        "hit rate {rate}: {} exact, {} semantic, {} missed, {} waited",
        figures::count(cache.hits_exact),
        figures::count(cache.hits_semantic),
        figures::count(cache.misses),
        figures::count(cache.waited),
    );
    let room = format!(
        "saved {}; {} answers in {} of {}, {} evicted",
        figures::dollars(cache.saved),
        figures::count(cache.entries),
        figures::bytes(cache.bytes),
        figures::bytes(cache.max_bytes),
        figures::count(cache.evicted),
    );
    let mut shelves: Vec<&ShelfLive> = cache.shelves.iter().collect();
    match order {
        "entries" => shelves.sort_by_key(|shelf| Reverse(shelf.entries)),
        "name" => shelves.sort_by_key(|shelf| (&shelf.tenant, &shelf.route)),
        _ => {}
    }
    let rows = shelves.into_iter().map(|shelf| {
        let cells: Vec<Cell> = vec![
            shelf.tenant.as_str().into(),
            shelf.route.as_str().into(),
            figures::count(shelf.entries).into(),
            figures::bytes(shelf.bytes).into(),
        ];
        Row { cells, note: Cell::default() }
    });
    Sheet {
        above: vec![looks, room],
        columns: vec![
            Column::text("TENANT", 24),
            Column::text("ROUTE", 32),
            Column::figures("ANSWERS"),
            Column::figures("SIZE"),
        ],
        rows: rows.collect(),
        nothing: "nothing is kept",
    }
}
