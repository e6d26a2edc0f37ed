//! What a fair queue must hold, as loads and tables.

use super::{Load, Outcome, Source, percentile, run};
use contracts::policy::queue::{Band, Queue as Policy};
use std::fmt::Write;
use std::num::NonZeroU32;
use std::time::Duration;

const SLOTS: u32 = 32;

fn policy() -> Policy {
    Policy { concurrency: NonZeroU32::new(SLOTS), ..Policy::default() }
}

fn source(tenant: &str, band: Band, load: Load) -> Source {
    Source { tenant: tenant.to_owned(), weight: 1, band, load, input: 200..1_800, output: 20..380 }
}

/// Calls a second of `source` that fill `slots` slots.
fn rate(source: &Source, slots: f64) -> Load {
    Load::Rate(slots / source.service().as_secs_f64())
}

/// Nine quiet tenants, without and with one that sends fifty times its share.
#[derive(Debug)]
pub struct Noise {
    pub seed: u64,
    /// What a quiet tenant sends, in percent of its share.
    pub load_percent: u32,
    /// Of the quiet tenants together.
    pub alone: Outcome,
    pub beside: Outcome,
    pub noisy: Outcome,
    /// The worst ratio of a quiet tenant's own 99th percentiles.
    pub worst_ratio: f64,
}

impl Noise {
    pub fn ratio(&self) -> f64 {
        ratio(&self.alone, &self.beside)
    }
}

fn ratio(alone: &Outcome, beside: &Outcome) -> f64 {
    percentile(&beside.whole, 99).as_secs_f64() / percentile(&alone.whole, 99).as_secs_f64()
}

pub fn noise(load_percent: u32, length: Duration, seed: u64) -> Noise {
    let share = f64::from(SLOTS) / 10.0;
    let make = |tenant: &str, slots| {
        let source = source(tenant, Band::Standard, Load::Rate(0.0));
        Source { load: rate(&source, slots), ..source }
    };
    let quiet = (1..10).map(|n| make(&format!("quiet-{n}"), share * f64::from(load_percent) / 100.0));
    let mut sources: Vec<Source> = quiet.collect();
    let alone = run(&policy(), &sources, length, seed);
    sources.push(make("noisy", share * 50.0));
    let mut beside = run(&policy(), &sources, length, seed);
    let noisy = beside.pop().unwrap();
    let ratios = alone.iter().zip(&beside).map(|(alone, beside)| ratio(alone, beside));
    let worst_ratio = ratios.fold(0.0, f64::max);
    Noise {
        seed,
        load_percent,
        alone: Outcome::merge(&alone),
        beside: Outcome::merge(&beside),
        noisy,
        worst_ratio,
    }
}

pub fn noise_table(runs: &[Noise]) -> String {
    let mut table = String::from(
        "| quiet load, % of share | seed | quiet calls | refused | p99 alone, s | p99 beside noise, s | ratio | worst tenant's ratio | noisy served | noisy refused |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for run in runs {
        let p99 = |outcome: &Outcome| percentile(&outcome.whole, 99).as_secs_f64();
        let _infallible = writeln!(
            table,
            "| {} | {} | {} | {} | {:.2} | {:.2} | {:.3} | {:.3} | {} | {} |",
            run.load_percent,
            run.seed,
            run.beside.whole.len(),
            run.beside.refused,
            p99(&run.alone),
            p99(&run.beside),
            run.ratio(),
            run.worst_ratio,
            run.noisy.whole.len(),
            run.noisy.refused,
        );
    }
    table
}

/// A tenant that always has calls waiting.
#[derive(Debug)]
pub struct Share {
    pub seed: u64,
    pub source: Source,
    pub due: f64,
    pub got: f64,
}

/// Ten tenants of different weights and different calls, all with calls waiting.
pub fn shares(length: Duration, seed: u64) -> Vec<Share> {
    let weights = [1, 1, 1, 2, 2, 3, 3, 4, 5, 8];
    let sizes = [(100..300, 100..500), (200..1_800, 20..380), (4_000..8_000, 10..50)];
    let sources: Vec<Source> = weights
        .iter()
        .zip(sizes.iter().cycle())
        .enumerate()
        .map(|(number, (&weight, (input, output)))| Source {
            weight,
            input: input.clone(),
            output: output.clone(),
            ..source(&format!("tenant-{number}"), Band::Standard, Load::Backlog(60))
        })
        .collect();
    let outcomes = run(&Policy { max_wait_ms: 3_600_000, ..policy() }, &sources, length, seed);
    let all: u64 = outcomes.iter().map(|outcome| outcome.weighted_tokens).sum();
    let of = |part: u64, whole: u64| part as f64 / whole as f64;
    let weight = weights.iter().map(|weight| u64::from(*weight)).sum();
    let share = |(source, outcome): (Source, &Outcome)| Share {
        seed,
        due: of(u64::from(source.weight), weight),
        got: of(outcome.weighted_tokens, all),
        source,
    };
    sources.into_iter().zip(&outcomes).map(share).collect()
}

pub fn share_table(shares: &[Share]) -> String {
    let mut table = String::from(
        "| seed | tenant | weight | input tokens | output tokens | due, % | got, % | off by, % |\n|---|---|---|---|---|---|---|---|\n",
    );
    for share in shares {
        let _infallible = writeln!(
            table,
            "| {} | {} | {} | {:?} | {:?} | {:.2} | {:.2} | {:+.2} |",
            share.seed,
            share.source.tenant,
            share.source.weight,
            share.source.input,
            share.source.output,
            share.due * 100.0,
            share.got * 100.0,
            (share.got / share.due - 1.0) * 100.0,
        );
    }
    table
}

/// One band in a pool at three times what it can take.
#[derive(Debug)]
pub struct BandRun {
    pub seed: u64,
    pub queue: &'static str,
    pub band: Band,
    /// Slots that its calls would fill, in percent of all.
    pub offered_percent: u32,
    pub outcome: Outcome,
}

/// Interactive calls for two fifths of the slots, programs for as much as there is and more, and long batch calls; then the same
/// in one line, first come first served.
pub fn bands(length: Duration, seed: u64) -> Vec<BandRun> {
    let offered =
        [(Band::Interactive, 40, 20..380), (Band::Standard, 130, 20..380), (Band::Batch, 130, 400..2_000)];
    let make = |(band, percent, output): (Band, u32, std::ops::Range<u64>)| {
        let source = Source { output, ..source(band.as_str(), band, Load::Rate(0.0)) };
        Source { load: rate(&source, f64::from(SLOTS * percent) / 100.0), ..source }
    };
    let sources = offered.clone().map(make);
    let in_line =
        sources.clone().map(|source| Source { tenant: "all".to_owned(), band: Band::Standard, ..source });
    let line = Policy { max_waiting_per_tenant: 1_000, ..policy() };
    let mut runs = Vec::new();
    for (queue, policy, sources) in [("bands", policy(), sources), ("one line", line, in_line)] {
        let outcomes = run(&policy, &sources, length, seed);
        for ((band, offered_percent, _), outcome) in offered.clone().into_iter().zip(outcomes) {
            runs.push(BandRun { seed, queue, band, offered_percent, outcome });
        }
    }
    runs
}

pub fn band_table(runs: &[BandRun]) -> String {
    let mut table = String::from(
        "| seed | queue | band | offered, % of slots | served | refused | first token p50, s | p99, s | slot time, % |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for of_queue in runs.chunks(3) {
        let all: Duration = of_queue.iter().map(|run| run.outcome.slot_time).sum();
        for run in of_queue {
            let _infallible = writeln!(
                table,
                "| {} | {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.1} |",
                run.seed,
                run.queue,
                run.band,
                run.offered_percent,
                run.outcome.whole.len(),
                run.outcome.refused,
                percentile(&run.outcome.to_first_token, 50).as_secs_f64(),
                percentile(&run.outcome.to_first_token, 99).as_secs_f64(),
                run.outcome.slot_time.as_secs_f64() / all.as_secs_f64() * 100.0,
            );
        }
    }
    table
}
