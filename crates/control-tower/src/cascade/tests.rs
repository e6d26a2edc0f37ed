//! What the command says of what it cannot use.

use super::*;
use clap::Parser;
use std::io::Write;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: FitArgs,
}

/// Twenty-four prompts that a small model answers well half of the time, and a large one always.
fn answers() -> String {
    let mut lines = String::new();
    for n in 0..24 {
        let good = n % 2 == 0;
        let small =
            if good { "The fee is 20 euros." } else { "Nobody has ever seen a purple zebra in Rome." };
        for (model, answer, quality) in
            [("a/small-1", small, u8::from(good)), ("b/large-1", "The fee is 20 euros.", 1)]
        {
            let row = serde_json::json!({
                "prompt_id": format!("p{n}"), "prompt": "What is the fee?", "context": "The fee is 20 euros a year.", "model": model,
                "answer": answer, "quality": quality, "tokens_in_est": 100, "tokens_out_est": 10, "group": format!("g{n}"),
            });
            lines.push_str(&row.to_string());
            lines.push('\n');
        }
    }
    lines
}

fn run_on(text: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let start = ["fit", "--lexical", "--splits", "1", "--resamples", "10", "--answers", &path];
    let line = Line::try_parse_from(start.iter().chain(arguments))?;
    run(&line.args)
}

const PRICES: [&str; 2] = ["--price=small=0.1/0.1", "--price=large=1/1"];

#[test]
fn a_cascade_and_its_curve_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [out, curve, held, decisions] =
        [file("cascade.json"), file("curve.svg"), file("held.json"), file("decisions.jsonl")];
    let mut arguments =
        vec!["--tiers", "small,large", "--target-quality", "last-0.01", "--out", &out, "--curve", &curve];
    arguments.extend(["--hold-out", &held, "--decisions", &decisions]);
    arguments.extend(PRICES);
    run_on(&answers(), &arguments).unwrap();
    let cascade: Cascade = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(cascade.validate(), Ok(()));
    assert_eq!(cascade.detects_by, Some(DetectsBy::Words));
    assert_eq!(cascade.tiers[1].model.as_str(), "b/large-1");
    let picture = std::fs::read_to_string(&curve).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("b/large-1"));
    let groups: Vec<String> = serde_json::from_str(&std::fs::read_to_string(&held).unwrap()).unwrap();
    assert_eq!(groups.len(), 12);
    let decisions = std::fs::read_to_string(&decisions).unwrap();
    let decided: Vec<serde_json::Value> =
        decisions.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let prompts: Vec<&str> = decided.iter().map(|line| line["prompt_id"].as_str().unwrap()).collect();
    let held: Vec<String> = groups.iter().map(|group| group.replace('g', "p")).collect();
    assert_eq!(prompts, held);
    for line in &decided {
        let n: u32 = line["prompt_id"].as_str().unwrap()[1..].parse().unwrap();
        let tier = if n.is_multiple_of(2) { "a/small-1" } else { "b/large-1" };
        assert_eq!((&line["model"], &line["quality"]), (&tier.into(), &1.0.into()), "{line}");
    }
}

#[test]
fn errors_name_the_field_the_value_and_what_is_expected() {
    let target = ["--target-cost", "50%"];
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--tiers", "small,huge"], &["--tiers", "huge", "a/small-1, b/large-1"]),
        (&["--tiers", "1,large"], &["--tiers", "\"1\"", "one model of"]),
        (&["--tiers", "small,a/small-1"], &["--tiers", "a/small-1", "once"]),
        (&["--tiers", "small,large"], &["a/small-1", "no price", "--price-as"]),
        (&["--tiers", "small"], &["tiers: 1", "2 to 8"]),
        (&["--tiers", "small,large", "--price", "small=1"], &["--price", "small=1", "MODEL=IN/OUT"]),
        (
            &["--tiers", "small,large", "--price", "small=0.0000001/1"],
            &["--price", "0.0000001", "MODEL=IN/OUT"],
        ),
        (
            &["--tiers", "small,large", "--price-as", "small=groq/none"],
            &["--price-as", "groq/none", "price book"],
        ),
    ];
    for (arguments, told) in cases {
        let with_prices = arguments.len() == 2 && !told.contains(&"no price");
        let prices: &[&str] = if with_prices { &PRICES } else { &[] };
        let prices = if arguments[1] == "small" { &prices[..1] } else { prices };
        let all: Vec<&str> = arguments.iter().chain(&target).chain(prices).copied().collect();
        let error = format!("{:#}", run_on(&answers(), &all).unwrap_err());
        assert!(told.iter().all(|part| error.contains(part)), "{arguments:?}: {error}");
    }
    for target in [["--target-cost", "half"], ["--target-quality", "92"], ["--signals", "luck"]] {
        let all = ["--tiers", "small,large", target[0], target[1]];
        let error = run_on(&answers(), &all).unwrap_err().to_string();
        assert!(
            error.contains(target[0]) && error.contains(target[1]) && error.contains("expected"),
            "{error}"
        );
    }
}

#[test]
fn a_bad_row_is_named_by_line_and_field() {
    let good = answers();
    let bad = |field: &str, value: serde_json::Value| {
        let mut row: serde_json::Value = serde_json::from_str(good.lines().next().unwrap()).unwrap();
        row[field] = value;
        format!("{good}{row}\n")
    };
    for (text, told) in [
        (bad("quality", 2.into()), "field `quality` is 2; expected a number of 0 to 1"),
        (bad("quality", serde_json::Value::Null), "field `quality` is null"),
        (bad("answer", 7.into()), "field `answer` is 7; expected a text"),
        (bad("tokens_in_est", (-1).into()), "field `tokens_in_est` is -1; expected a whole number"),
        (format!("{good}{{\n"), "is no JSON"),
    ] {
        let error =
            format!("{:#}", run_on(&text, &["--tiers", "small,large", "--target-cost", "50%"]).unwrap_err());
        assert!(error.contains("line 49") && error.contains(told), "{error}");
    }
}
