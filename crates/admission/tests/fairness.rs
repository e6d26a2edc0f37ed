//! What a fair queue promises, held under several seeds: noise does not reach the quiet, tokens go by weight, urgent calls start in
//! time. `cargo test -p admission --test fairness -- --nocapture` prints the tables.

#![expect(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "figures for a table, and all of it is a test"
)]

mod simulation;

use contracts::policy::queue::Band;
use simulation::{band_table, bands, noise, noise_table, percentile, share_table, shares};
use std::time::Duration;

const SEEDS: [u64; 3] = [1, 2, 3];

/// The objective of the interactive band, of which reading the prompt takes up to 0.2 s.
const TO_FIRST_TOKEN: Duration = Duration::from_millis(1_500);

#[test]
fn a_noisy_tenant_at_fifty_times_its_share_does_not_reach_the_quiet() {
    let length = Duration::from_mins(30);
    let runs: Vec<_> =
        [25, 50, 75].iter().flat_map(|load| SEEDS.map(|seed| noise(*load, length, seed))).collect();
    println!("{}", noise_table(&runs));
    for run in &runs {
        assert!(run.ratio() <= 1.2 && run.worst_ratio <= 1.2, "{}", noise_table(std::slice::from_ref(run)));
        assert_eq!(run.beside.refused, 0);
        assert!(run.noisy.refused > run.noisy.whole.len() as u64);
    }
}

#[test]
fn tokens_go_by_weight_while_all_wait() {
    for seed in SEEDS {
        let shares = shares(Duration::from_hours(1), seed);
        println!("{}", share_table(&shares));
        for share in &shares {
            assert!((share.got / share.due - 1.0).abs() <= 0.05, "{}", share_table(&shares));
        }
    }
}

#[test]
fn urgent_calls_start_in_time_at_three_times_the_load() {
    for seed in SEEDS {
        let runs = bands(Duration::from_mins(30), seed);
        println!("{}", band_table(&runs));
        let of =
            |band: Band| &runs.iter().find(|run| run.queue == "bands" && run.band == band).unwrap().outcome;
        let first = &of(Band::Interactive).to_first_token;
        assert!(percentile(first, 99) <= TO_FIRST_TOKEN, "{}", band_table(&runs));
        assert_eq!(of(Band::Interactive).refused, 0);
        for band in [Band::Standard, Band::Batch] {
            assert!(of(band).slot_time > Duration::ZERO, "{band} starves");
        }
    }
}
