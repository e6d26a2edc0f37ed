//! A run told: Markdown for people, `JUnit` for machines that build.

use super::account::Account;
use super::compare::Change;
use super::gate::Outcome;
use super::summary::{Summary, by_slice, summarise};
use super::{Header, RunError, RunResult, table};
use std::fmt::Write;

/// Everything that a report tells.
#[derive(Debug)]
pub struct Report<'a> {
    /// What the run is.
    pub header: &'a Header,
    /// What it gave.
    pub results: &'a [RunResult],
    /// What it cost.
    pub account: &'a Account,
    /// What its conditions came to.
    pub gates: &'a [Outcome],
}

/// As Markdown.
pub fn markdown(report: &Report<'_>) -> Result<String, RunError> {
    let Header { run_id, dataset, version, target, repeat, planned, .. } = report.header;
    let summary = summarise(report.results);
    let mut text = format!("# Run {run_id}\n\n");
    let short = &version[..version.len().min(12)];
    line(
        &mut text,
        &format!(
            "`{target}` on `{dataset}@{short}`, {} of {planned} results, {repeat} a row.",
            summary.results
        ),
    );
    text.push('\n');
    for gate in report.gates {
        let mark = if gate.met { "**FAILED**" } else { "passed" };
        line(&mut text, &format!("- {mark}: fail if `{}`; {}", gate.condition, gate.seen.join("; ")));
    }
    if !report.gates.is_empty() {
        text.push('\n');
    }
    cost(&mut text, report.account);
    line(&mut text, "## Figures\n");
    line(&mut text, HEADING);
    line(&mut text, RULE);
    figures(&mut text, "all", &summary);
    for slice in table::slices(report.results) {
        for (value, summary) in by_slice(report.results, &slice)? {
            figures(&mut text, &format!("{slice} = {value}"), &summary);
        }
    }
    let failed: Vec<&RunResult> = report.results.iter().filter(|r| !r.error.is_empty()).collect();
    if !failed.is_empty() {
        line(&mut text, "\n## Without an answer\n");
        for result in failed.iter().take(50) {
            line(&mut text, &format!("- `{}` #{}: {}", result.row_id, result.repeat, cell(&result.error)));
        }
        if failed.len() > 50 {
            line(&mut text, &format!("- … and {} more", failed.len() - 50));
        }
    }
    Ok(text)
}

const HEADING: &str =
    "| rows | judge | mean | 95% interval | scored | not judged | errors | p50 ms | p95 ms | USD a result |";
const RULE: &str = "|---|---|---:|---|---:|---:|---:|---:|---:|---:|";

fn figures(text: &mut String, name: &str, summary: &Summary) {
    let or_nothing = |figure: Option<String>| figure.unwrap_or_default();
    let tail = format!(
        "{} | {} | {} | {} |",
        or_nothing(summary.errors.map(|share| format!("{:.2}%", share * 100.0))),
        or_nothing(summary.latency_p50_ms.map(|ms| format!("{ms:.0}"))),
        or_nothing(summary.latency_p95_ms.map(|ms| format!("{ms:.0}"))),
        or_nothing(summary.mean_cost.map(|usd| format!("{usd:.9}")))
    );
    if summary.judges.is_empty() {
        line(text, &format!("| {} | | | | {} | | {tail}", cell(name), summary.results));
    }
    for (judge, judged) in &summary.judges {
        let (mean, interval) = judged.mean.map_or((String::new(), String::new()), |mean| {
            (format!("{:.4}", mean.estimate), format!("{:.4} to {:.4}", mean.low, mean.high))
        });
        let rows = format!("{} | {}", judged.rows, judged.failed);
        line(text, &format!("| {} | {judge} | {mean} | {interval} | {rows} | {tail}", cell(name)));
    }
}

fn cost(text: &mut String, account: &Account) {
    line(text, "## Cost\n");
    line(text, &format!("- calls: {} USD, as the gateway told", account.cost));
    line(text, &format!("- judges: {} USD", account.cost_judges));
    match &account.check {
        None => line(text, "- not checked against ClickHouse"),
        Some(check) if check.holds() => {
            line(text, &format!("- checked: the same calls stand at {} USD in `calls`", check.metered));
        }
        Some(check) => line(
            text,
            &format!(
                "- **not confirmed**: `calls` has {} USD for them; {} calls have not arrived, {} differ",
                check.metered,
                check.missing,
                check.differing.len()
            ),
        ),
    }
    if let Some(check) = account.check.as_ref().filter(|check| check.lost_calls > 0) {
        let lost = format!(
            "- lost: {} USD for {} calls that left no result (cut off)",
            check.lost, check.lost_calls
        );
        line(text, &lost);
    }
    text.push('\n');
}

/// As `JUnit`'s XML: a test case for each condition, one for the account, and one for each row without an answer.
pub fn junit(report: &Report<'_>) -> String {
    let failed: Vec<&RunResult> = report.results.iter().filter(|r| !r.error.is_empty()).collect();
    let broken = report.account.check.as_ref().filter(|check| !check.holds());
    let tests = report.gates.len() + 1 + failed.len();
    let failures =
        report.gates.iter().filter(|g| g.met).count() + failed.len() + usize::from(broken.is_some());
    let suite = xml(&format!("{} on {}", report.header.target, report.header.dataset));
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    line(&mut text, &format!("<testsuites tests=\"{tests}\" failures=\"{failures}\">"));
    line(&mut text, &format!("  <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failures}\">"));
    for gate in report.gates {
        let failure = gate.met.then(|| gate.seen.join("; "));
        case(&mut text, "condition", &format!("not ({})", gate.condition), failure.as_deref());
    }
    let account =
        broken.map(|check| format!("{} calls missing, {} differ", check.missing, check.differing.len()));
    case(&mut text, "cost", "what the gateway told is what it metered", account.as_deref());
    for result in failed {
        case(&mut text, "row", &format!("{} #{}", result.row_id, result.repeat), Some(&result.error));
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, class: &str, name: &str, failure: Option<&str>) {
    let name = xml(name);
    match failure {
        None => line(text, &format!("    <testcase classname=\"{class}\" name=\"{name}\"/>")),
        Some(why) => {
            let why = xml(why);
            line(
                text,
                &format!(
                    "    <testcase classname=\"{class}\" name=\"{name}\"><failure message=\"{why}\"/></testcase>"
                ),
            );
        }
    }
}

/// A comparison as a Markdown table.
pub fn changes(changes: &[Change]) -> String {
    let mut text = String::from(
        "| metric | rows | pairs | before | after | difference | 95% interval | |\n|---|---|---:|---:|---:|---:|---|---|\n",
    );
    for change in changes {
        let rows = if change.slice.is_empty() {
            "all".to_owned()
        } else {
            format!("{} = {}", change.slice, change.value)
        };
        let Change { metric, pairs, before, after, difference: d, .. } = change;
        let digits = if metric == "cost_usd" { 9 } else { 4 };
        let clear = match (change.is_clear(), d.estimate > 0.0) {
            (false, _) => "not clear",
            (true, true) => "up",
            (true, false) => "down",
        };
        line(
            &mut text,
            &format!(
                "| {metric} | {} | {pairs} | {before:.digits$} | {after:.digits$} | {:+.digits$} | {:+.digits$} to {:+.digits$} | {clear} |",
                cell(&rows),
                d.estimate,
                d.low,
                d.high
            ),
        );
    }
    text
}

fn line(text: &mut String, content: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{content}");
}

/// A text that neither ends a table's cell nor its line.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// A text within XML; characters that XML forbids are left out.
fn xml(text: &str) -> String {
    let allowed = text.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n'));
    let mut safe = String::with_capacity(text.len());
    for c in allowed {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            other => safe.push(other),
        }
    }
    safe
}
