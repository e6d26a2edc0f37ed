//! Outages played through on a clock of their own: what clients see when deployments fail, hang, refuse or come back.
//!
//! `cargo test -p pool --test simulation -- --nocapture` prints the tables.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a simulation's times, and the tests' own helpers and tables"
)]

mod world;

use contracts::policy::pool::{Balance, Hedge};
use world::{Mood, Report, Scenario, play, policy, quantile};

const LOADS: [f64; 3] = [5.0, 50.0, 200.0];
const SEEDS: [u64; 3] = [1, 2, 3];

fn scenario(load: f64, seed: u64, moods: Vec<(f64, usize, Mood)>) -> Scenario {
    let seconds = if load < 20.0 { 400.0 } else { 240.0 };
    Scenario { policy: policy(3), load, seconds, seed, whole: 0.0, moods }
}

fn row(name: &str, scenario: &Scenario, report: &Report, healthy: &Report) -> [f64; 2] {
    let p99 = |sorted: &[f64]| quantile(sorted, 0.99);
    let ratios =
        [p99(&report.first_bytes) / p99(&healthy.first_bytes), p99(&report.ends) / p99(&healthy.ends)];
    println!(
        "| {name:32} | {:5} | {} | {:6} | {:8.3}% | {:.3} | {:5.0} ms | {:5.0} ms | {:.2} | {:.2} | {:3} | {:?} |",
        scenario.load,
        scenario.seed,
        report.calls,
        report.success() * 100.0,
        report.amplification(),
        quantile(&healthy.first_bytes, 0.99) * 1e3,
        p99(&report.first_bytes) * 1e3,
        ratios[0],
        ratios[1],
        report.ejections(),
        report.sent.iter().map(Vec::len).collect::<Vec<_>>(),
    );
    ratios
}

fn header() {
    println!(
        "| scenario | calls/s | seed | calls | success | upstream/call | healthy p99 first byte | p99 first byte | ratio | ratio of p99 end | ejections | sent |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
}

#[test]
fn one_failing_and_one_hanging_of_three_are_hardly_noticed() {
    header();
    let bad = |from: f64| vec![(from, 0, Mood::Failing(0.5)), (from, 1, Mood::Hanging)];
    for load in LOADS {
        for seed in SEEDS {
            let well = scenario(load, seed, Vec::new());
            let healthy = play(&well);
            assert_eq!((healthy.success(), healthy.amplification(), healthy.ejections()), (1.0, 1.0, 0));
            let mixed = Scenario { whole: 0.3, ..well.clone() };
            let healthy_mixed = play(&mixed);
            let hedged = {
                let mut policy = policy(3);
                policy.hedge = Some(Hedge::default());
                policy
            };
            for (name, played, healthy) in [
                ("from the first call on", Scenario { moods: bad(0.0), ..well.clone() }, &healthy),
                ("after a minute", Scenario { moods: bad(60.0), ..well.clone() }, &healthy),
                ("a third of answers whole", Scenario { moods: bad(60.0), ..mixed }, &healthy_mixed),
                ("with hedges", Scenario { moods: bad(60.0), policy: hedged, ..well.clone() }, &healthy),
            ] {
                let report = play(&played);
                let ratios = row(name, &played, &report, healthy);
                assert!(report.success() >= 0.999, "{name}: {:?}", &report.lost[..report.lost.len().min(5)]);
                assert!(report.amplification() <= 1.3, "{name}");
                assert!(ratios[0] <= 1.5 && ratios[1] <= 1.5, "{name}");
            }
        }
    }
}

#[test]
fn a_storm_of_bad_requests_puts_nobody_out() {
    for load in LOADS {
        let moods = (0..3).map(|server| (0.0, server, Mood::Refusing)).collect();
        let report = play(&scenario(load, 1, moods));
        assert_eq!((report.ejections(), report.amplification()), (0, 1.0));
    }
}

#[test]
fn a_full_outage_causes_no_storm_of_retries_and_is_over_when_it_is_over() {
    header();
    for load in LOADS {
        for (name, mood) in [("all failing", Mood::Failing(1.0)), ("all hanging", Mood::Hanging)] {
            let moods = (0..3).flat_map(|server| [(60.0, server, mood), (120.0, server, Mood::Well)]);
            let played = scenario(load, 1, moods.collect());
            let healthy = play(&scenario(load, 1, Vec::new()));
            let report = play(&played);
            row(name, &played, &report, &healthy);
            let during: usize = (0..3).map(|server| report.sent_between(server, 60.0, 120.0)).sum();
            assert!(during as f64 <= load * 60.0 * 1.2, "{name} at {load}/s: {during}");
            assert!(report.amplification() <= 1.15, "{name}");
            // Calls of the outage, and of a few seconds after it at most, are lost.
            let lost = (report.calls - report.succeeded) as f64;
            assert!(lost <= load * 66.0 * 1.2, "{name} at {load}/s: {lost}");
            let end = played.seconds;
            let after: Vec<usize> =
                (0..3).map(|server| report.sent_between(server, end - 40.0, end)).collect();
            assert!(after.iter().all(|sent| *sent as f64 > load * 40.0 / 3.0 * 0.5), "{after:?}");
        }
    }
}

#[test]
fn who_recovers_is_found_and_gets_its_share_step_by_step() {
    let moods = vec![(30.0, 0, Mood::Failing(1.0)), (90.0, 0, Mood::Well)];
    let report = play(&scenario(50.0, 1, moods));
    assert!(report.success() >= 0.999);
    let per_second: Vec<usize> = (0..24)
        .map(|tenth| report.sent_between(0, f64::from(tenth) * 10.0, f64::from(tenth + 1) * 10.0))
        .collect();
    println!("calls to the deployment that fails from 30 s to 90 s, in tens of seconds: {per_second:?}");
    let share = 50.0 * 10.0 / 3.0;
    assert!(per_second[4..9].iter().all(|calls| (*calls as f64) < share * 0.1), "{per_second:?}");
    let back = per_second.iter().skip(9).position(|calls| *calls as f64 > share * 0.15).unwrap() + 9;
    assert!(back <= 15, "found within a minute: {per_second:?}");
    assert!((per_second[back] as f64) < share * 0.8, "not at once: {per_second:?}");
    assert!(
        per_second[back + 5..].iter().all(|calls| (*calls as f64 / share - 1.0).abs() < 0.4),
        "{per_second:?}"
    );
}

#[test]
fn who_is_rate_limited_is_left_alone_and_not_put_out() {
    let moods = vec![(10.0, 0, Mood::Limiting(5))];
    let report = play(&scenario(50.0, 1, moods));
    assert_eq!((report.ejections(), report.success()), (0, 1.0));
    let asked = report.sent_between(0, 15.0, 215.0);
    assert!(
        (30..150).contains(&asked),
        "about once in five seconds, and those that ask at the same moment: {asked}"
    );
}

#[test]
fn calls_spread_by_weight_under_every_balance() {
    for balance in [Balance::LeastOutstandingPeakEwma, Balance::Weighted] {
        let mut weighted = policy(3);
        weighted.deployments[0].weight = 2;
        weighted.balance = balance.clone();
        let report = play(&Scenario { policy: weighted, ..scenario(200.0, 1, Vec::new()) });
        let share = report.sent[0].len() as f64 / report.upstream as f64;
        assert!((0.42..0.58).contains(&share), "{balance:?}: {share}");
    }
}
