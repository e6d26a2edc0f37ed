//! Runs, their journal after a crash, ceilings, gates and reports.

use super::compare::compare;
use super::gate::Gate;
use super::*;
use polars_io::SerReader;
use proptest::prelude::*;

fn result(row: usize, repeat: u32, score: f64, picos: i128) -> RunResult {
    RunResult {
        row_id: format!("row-{row}"),
        repeat,
        at: Timestamp::from_unix_seconds(1_800_000_000),
        trace_id: "0".repeat(32),
        calls: vec![CallCost {
            request_id: format!("r{row}-{repeat}"),
            cost: Usd::from_picos(picos),
            status: 200,
        }],
        model: "m".into(),
        answer: "yes".into(),
        error: String::new(),
        latency_ms: 10,
        slices: [("task".to_owned(), if row.is_multiple_of(2) { "qa" } else { "sum" }.to_owned())].into(),
        scores: vec![Score {
            judge: "grounding".into(),
            version: "1".into(),
            score: Some(score),
            label: "pass".into(),
            explanation: String::new(),
            cost: Usd::ZERO,
        }],
    }
}

fn header(planned: u64) -> Header {
    Header {
        run_id: "run-1".into(),
        tenant: "acme".into(),
        dataset: "faq".into(),
        version: "ab".repeat(32),
        target: "route:a|b".into(),
        judges: vec!["grounding@1".into()],
        repeat: 1,
        planned,
        started_at: Timestamp::from_unix_seconds(1_800_000_000),
    }
}

#[test]
fn a_journal_goes_on_where_a_crash_cut_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let mut journal = Journal::open(dir.path(), &header(3)).unwrap();
    journal.append(vec![result(1, 1, 0.5, 7), result(2, 1, 0.6, 8)]).unwrap();
    journal.append(vec![result(2, 1, 0.9, 9)]).unwrap();
    assert!(Journal::open(dir.path(), &header(3)).unwrap_err().to_string().contains("another process"));
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], b"{\"result\":{\"row_id\":\"row-3\",\"rep"].concat()).unwrap();

    let mut journal = Journal::open(dir.path(), &header(3)).unwrap();
    assert_eq!(
        journal.results(),
        [result(1, 1, 0.5, 7), result(2, 1, 0.6, 8)],
        "the second of a row is not taken"
    );
    assert!(journal.has("row-2", 1) && !journal.has("row-3", 1));
    assert_eq!(journal.seal(1).unwrap(), [0..1, 1..2]);
    journal.append(vec![result(3, 1, 0.7, 9)]).unwrap();
    drop(journal);
    let mut journal = Journal::open(dir.path(), &header(3)).unwrap();
    assert_eq!(journal.seal(10).unwrap(), [0..1, 1..2, 2..3], "bounds once drawn stay");
    assert_eq!(journal.results().len(), 3);
    drop(journal);

    let other = Header { target: "route:c".into(), ..header(3) };
    let told = Journal::open(dir.path(), &other).unwrap_err().to_string();
    assert!(told.contains("target \"route:a|b\"") && told.contains("route:c"), "{told}");
    let text = String::from_utf8(whole).unwrap().replacen("\"result\"", "\"rubbish\"", 1);
    std::fs::write(&path, text).unwrap();
    assert!(Journal::open(dir.path(), &header(3)).unwrap_err().to_string().contains("line 2"));
}

fn met(condition: &str, results: &[RunResult]) -> Result<bool, String> {
    let gate = Gate::parse(condition).map_err(|error| error.to_string())?;
    gate.check(results).map(|outcome| outcome.met).map_err(|error| error.to_string())
}

#[test]
fn conditions_are_read_and_held_against_the_run() {
    // Of rows 0 to 9 the even ones (qa) score 0.8, the odd ones (sum) 1.0: 0.9 in the mean.
    let results: Vec<RunResult> =
        (0..10).map(|row| result(row, 1, if row % 2 == 0 { 0.8 } else { 1.0 }, 1_000_000_000)).collect();
    for (condition, expected) in [
        ("grounding < 0.9", false),
        ("grounding <= 0.9", true),
        ("grounding.low<0.9", true),
        ("grounding.high < 0.9", false),
        ("grounding[task=qa] < 0.85", true),
        // All five are 1, which is no proof that the sixth would be.
        ("grounding.low[task=sum] < 1", true),
        ("grounding.low[task=sum] < 0.47", false),
        ("grounding.scored < 1", false),
        ("errors > 0 or cost >= 0.01", true),
        ("errors > 0 or (cost > 0.01 and results == 10)", false),
        ("errors != 0 or grounding < 1 and cost < 0", false),
        ("latency_p95_ms > 9.5", true),
    ] {
        assert_eq!(met(condition, &results), Ok(expected), "{condition}");
    }
}

#[test]
fn a_condition_that_cannot_be_read_says_where_and_why() {
    let results = [result(0, 1, 0.5, 1)];
    for (condition, column, expected) in [
        ("grounding", 10, "one of < <= > >= == !="),
        ("grounding < high", 13, "a number such as 0.9"),
        ("grounding < 0.9 grounding", 17, "\"and\", \"or\" or the end"),
        ("(grounding < 0.9", 17, "\")\""),
        ("", 1, "a metric such as grounding"),
        ("grounding. < 1", 12, "mean, low, high or scored"),
        ("grounding[task] < 1", 11, "slice=value"),
        ("errors > 0 or", 14, "a metric such as grounding"),
    ] {
        let told = met(condition, &results).unwrap_err();
        assert!(
            told.contains(&format!("column {column}:")) && told.contains(expected),
            "{condition}: {told}"
        );
    }
    let told = met("fluency < 1", &results).unwrap_err();
    assert!(told.contains("fluency") && told.contains("grounding") && told.contains("errors"), "{told}");
    assert!(met("grounding[task=none] < 1", &results).unwrap_err().contains("qa"));
    assert!(met("grounding.median < 1", &results).unwrap_err().contains(".mean .low .high .scored"));
    assert!(met("cost.low < 1", &results).unwrap_err().contains("cost without .low"));
    let unscored = RunResult {
        scores: vec![Score { score: None, ..results[0].scores[0].clone() }],
        ..results[0].clone()
    };
    assert!(met("grounding < 1", &[unscored]).unwrap_err().contains("scored none"));
    assert!(met(&"(".repeat(100_000), &results).unwrap_err().contains("fewer parentheses"));
}

#[test]
fn a_figure_that_does_not_exist_stops_a_release() {
    let broken =
        |row: usize| RunResult { error: "502".to_owned(), scores: Vec::new(), ..result(row, 1, 0.0, 0) };
    let silent: Vec<RunResult> = (0..10).map(broken).collect();
    assert_eq!(met("errors > 0.5", &silent), Ok(true));
    assert!(met("latency_p95_ms > 2000", &silent).unwrap_err().contains("a run with an answer"));
    assert!(met("latency_p50_ms > 2000 or errors > 2", &silent).is_err());
    for condition in ["errors > 0.01", "cost_mean > 1"] {
        assert!(met(condition, &[]).unwrap_err().contains("a run with an answer"), "{condition}");
    }
    // The one answer is good, the nineteen that are missing nobody knows.
    let one: Vec<RunResult> =
        (0..20).map(|row| if row == 0 { result(row, 1, 1.0, 0) } else { broken(row) }).collect();
    let told = met("grounding < 0.9", &one).unwrap_err();
    assert!(told.contains("grounding scored 1 of 20"), "{told}");
    assert_eq!(met("grounding.scored < 0.9", &one), Ok(true));
    // So it is where the judge itself failed; what it does not apply to is nobody's loss.
    let label = |label: &str| {
        let relabelled = |mut one: RunResult| {
            one.scores[0].score = None;
            one.scores[0].label = label.to_owned();
            one
        };
        let results = (0..20).map(|row| result(row, 1, 1.0, 0));
        results.enumerate().map(|(at, one)| if at < 5 { one } else { relabelled(one) }).collect::<Vec<_>>()
    };
    assert!(met("grounding < 0.9", &label("error")).unwrap_err().contains("5 of 20"));
    assert_eq!(met("grounding < 0.9", &label("not_applicable")), Ok(false));
    // One row is not sure of anything.
    assert_eq!(met("grounding.low < 0.9", &[result(0, 1, 1.0, 0)]), Ok(true));
}

#[test]
fn two_runs_are_compared_by_row_and_slice() {
    let before: Vec<RunResult> =
        (0..40).flat_map(|row| [result(row, 1, 0.5, 10), result(row, 2, 0.7, 10)]).collect();
    // Only qa gets better, by 0.2.
    let after: Vec<RunResult> =
        (0..40).map(|row| result(row, 1, if row % 2 == 0 { 0.8 } else { 0.6 }, 20)).collect();
    let changes = compare(&before, &after, &["task".to_owned()]).unwrap();
    let of =
        |metric: &str, value: &str| changes.iter().find(|c| c.metric == metric && c.value == value).unwrap();
    let all = of("grounding", "");
    assert!((all.difference.estimate - 0.1).abs() < 1e-9 && all.is_clear() && all.pairs == 40, "{all:?}");
    let (qa, sum) = (of("grounding", "qa"), of("grounding", "sum"));
    assert!((qa.difference.estimate - 0.2).abs() < 1e-9 && qa.pairs == 20);
    assert!(sum.difference.estimate.abs() < 1e-9 && !sum.is_clear() || sum.difference.high < 1e-9);
    assert!((of("cost_usd", "").difference.estimate - 1e-11).abs() < 1e-15);
    let told = report::changes(&changes);
    assert!(told.contains("| grounding | task = qa | 20 | 0.6000 | 0.8000 | +0.2000 |"), "{told}");
}

#[test]
fn reports_escape_what_they_quote() {
    let mut broken = result(1, 1, 0.5, 3);
    broken.error = "502: <upstream> said \"no\" | \u{0} end".into();
    let results = [result(0, 1, 1.0, 4), broken];
    let account = account::told(&results);
    let gates = [Gate::parse("grounding < 0.9 and errors > 0").unwrap().check(&results).unwrap()];
    let report = report::Report { header: &header(2), results: &results, account: &account, gates: &gates };
    let xml = report::junit(&report);
    assert!(xml.contains("tests=\"3\" failures=\"2\"") && xml.contains("&lt;upstream&gt;"), "{xml}");
    assert!(!xml.contains('\u{0}') && xml.contains("not (grounding &lt; 0.9 and errors &gt; 0)"), "{xml}");
    let text = report::markdown(&report).unwrap();
    assert!(text.contains("calls: 0.000000000007 USD") && text.contains("**FAILED**"), "{text}");
    assert!(text.contains("| task = qa | grounding | 1.0000 |"), "{text}");
}

#[test]
fn the_table_keeps_costs_exact() {
    let results = [result(0, 1, 0.25, 123_456_789_012), result(1, 1, 0.5, 1)];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.parquet");
    table::write_parquet(&results, &path).unwrap();
    let read = polars_io::prelude::ParquetReader::new(std::fs::File::open(&path).unwrap()).finish().unwrap();
    let column = |name: &str| read.column(name).unwrap();
    assert_eq!(column("cost_usd").str().unwrap().get(0), Some("0.123456789012"));
    assert_eq!(column("cost_picodollars").i64().unwrap().get(0), Some(123_456_789_012));
    assert_eq!(column("score.grounding").f64().unwrap().get(1), Some(0.5));
    assert_eq!(column("slice.task").str().unwrap().get(1), Some("sum"));
}

#[test]
fn a_prompt_is_named_by_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("support.txt");
    std::fs::write(&file, "Use this: {{context}}").unwrap();
    let text = format!("prompt-version:{}", file.display());
    assert!(Target::parse(&text, None).unwrap_err().to_string().contains("--at"));
    let target = Target::parse(&text, Some("small")).unwrap();
    assert!(target.to_string().starts_with("prompt-version:support.txt@"), "{target}");
    let row: crate::datasets::Row = serde_json::from_value(serde_json::json!({
        "id": "a", "messages": [{"role": "user", "content": "Hi"}], "context": [{"id": "1", "text": "A fact."}],
        "params": {"max_tokens": 5},
    }))
    .unwrap();
    let body = target.body(&row, ContextIn::System);
    assert_eq!(body["messages"][0]["content"], "Use this: [1] A fact.");
    assert_eq!((&body["model"], &body["max_tokens"]), (&"small".into(), &5.into()));
    let plain = Target::parse("model:small", None).unwrap();
    assert_eq!(plain.body(&row, ContextIn::Messages)["messages"].as_array().unwrap().len(), 1);
    assert_eq!(plain.body(&row, ContextIn::System)["messages"][0]["role"], "system");
    assert!(Target::parse("small", None).unwrap_err().to_string().contains("route:NAME"));
    std::fs::write(&file, "Other").unwrap();
    assert_ne!(Target::parse(&text, Some("small")).unwrap().to_string(), target.to_string());
}

proptest! {
    #[test]
    fn no_condition_breaks_the_parser(text in "[a-z0-9 .<>=!()\\[\\]é-]{0,60}") {
        if let Err(error) = Gate::parse(&text) {
            prop_assert!(error.to_string().contains("column"));
        }
    }
}
