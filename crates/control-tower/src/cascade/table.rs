//! The report as people read it.

use cascade::fit::report::{Fixed, Report, Spread};

pub(super) fn lines(report: &Report) -> Vec<String> {
    let cascade = &report.cascade;
    let mut out = vec![
        format!(
            "{} prompts, halved by group; {} halves fitted on, the other half measured each time",
            report.prompts, report.halves
        ),
        String::new(),
        format!("{:<44} {:>10} {:>16} {:>12}", "", "acceptable", "cost a request", "of the last"),
    ];
    let fixed = |fixed: &Fixed| {
        let Fixed { name, quality, cost, cost_share } = fixed;
        format!(
            "{name:<44} {:>10} {:>16} {:>12}",
            percent(*quality),
            format!("${cost}"),
            percent(*cost_share)
        )
    };
    out.extend(report.single.iter().map(fixed));
    out.push(format!(
        "{:<44} {:>10} {:>16} {:>12}",
        "by lot, at the cascade's cost",
        percent(report.random_at_equal_cost),
        format!("${}", cascade.cost),
        percent(cascade.cost_share.mean)
    ));
    out.push(format!(
        "{:<44} {:>10} {:>16} {:>12}",
        "cascade",
        percent(cascade.quality.mean),
        format!("${}", cascade.cost),
        percent(cascade.cost_share.mean)
    ));
    out.push(fixed(&report.oracle));
    out.push(String::new());
    out.push(format!(
        "{:<28} {:>8} {:>18} {:>8} {:>18}",
        "cascade", "median", "10th to 90th", "mean", "95% over prompts"
    ));
    for (name, spread) in [
        ("acceptable", &cascade.quality),
        ("less the last tier's", &cascade.less_last),
        ("less by lot at equal cost", &cascade.less_random),
        ("cost, of the last tier's", &cascade.cost_share),
    ] {
        let Spread { median, p10, p90, mean, interval: [low, high] } = spread;
        let halves = format!("{} to {}", percent(*p10), percent(*p90));
        let prompts = format!("{} to {}", percent(*low), percent(*high));
        out.push(format!(
            "{name:<28} {:>8} {halves:>18} {:>8} {prompts:>18}",
            percent(*median),
            percent(*mean)
        ));
    }
    let served =
        report.tiers.iter().zip(&report.served).map(|(tier, part)| format!("{tier} {}", percent(*part)));
    out.extend([String::new(), format!("served by: {}", served.collect::<Vec<_>>().join(", "))]);
    out.extend([
        String::new(),
        "curve: cost of the last tier's, acceptable [95%], by lot at equal cost".to_owned(),
    ]);
    for point in &report.curve {
        let [low, high] = point.interval;
        out.push(format!(
            "{:>8} {:>8} [{} {}] {:>8}",
            percent(point.cost_share),
            percent(point.quality),
            percent(low),
            percent(high),
            percent(point.random)
        ));
    }
    out.extend([
        String::new(),
        "AUROC for acceptable, by tier (combined: on the halves not fitted on)".to_owned(),
    ]);
    for signal in report.signals.iter().filter(|signal| signal.tiers.iter().any(Option::is_some)) {
        let tiers =
            signal.tiers.iter().map(|value| value.map_or("   -".to_owned(), |value| format!("{value:.2}")));
        out.push(format!("{:<22} {}", signal.signal, tiers.collect::<Vec<_>>().join("  ")));
    }
    out
}

fn percent(part: f64) -> String {
    format!("{:.1}%", part * 100.0)
}
