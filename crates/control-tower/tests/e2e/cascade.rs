//! A cascade that was fitted on one half of recorded answers, through the gateway on the other half: the same model answers, for the same
//! money, as the fit said.

use crate::stand::Stand;
use contracts::policy::Kind;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Real answers, on machines that have them.
const RECORDED: &str = "../shared/data/replay/rag-answers-dev.jsonl.gz";
/// A part of each model's name, and dollars per million tokens: input and output.
const TIERS: [(&str, &str, &str); 3] =
    [("Llama-3.1-8B", "0.18", "0.18"), ("gemini-2.0-flash", "0.1", "0.4"), ("gemini-2.5-pro", "1.25", "10")];
/// So many prompts are asked of each recording.
const ASKED: usize = 60;
const ROUTE: &str = "cheapest-good-answer";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_decides_as_the_fit_said() {
    let dir = tempfile::tempdir().unwrap();
    let made_up = dir.path().join("answers.jsonl");
    std::fs::write(&made_up, made_up_answers()).unwrap();
    follows(dir.path(), &made_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_decides_as_the_fit_said_of_real_answers() {
    let recorded = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(RECORDED);
    if !recorded.exists() {
        println!("skipped: {} is not there", recorded.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    follows(dir.path(), &recorded).await;
}

/// Fits on half of the answers and plays the other half.
async fn follows(dir: &Path, answers: &Path) {
    let (mut cascade, decisions) = fitted(dir, answers);
    assert!(!decisions.is_empty());
    // What decides must be the answers, not how busy the machine is.
    cascade["detector_deadline_ms"] = json!(60_000);

    let recorded = answers.display().to_string();
    let stand = Stand::start(&format!("[sim]\nanswers = [{recorded:?}]\n")).await;
    stand.deployment("recorded").await;
    let tiers: Vec<String> = cascade["tiers"].as_array().unwrap().iter().map(|t| text(&t["model"])).collect();
    for (model, (_, input, output)) in tiers.iter().zip(TIERS) {
        stand.model(model, "recorded").await;
        stand.price(model, input, output).await;
    }
    stand.put(Kind::Cascade, "fitted", &cascade).await;
    stand.route(ROUTE, &tiers[0], &json!({"cascade": "fitted"})).await;
    let key = stand.tenant("acme", None).await;
    let gateway = stand.gateway("gateway", &[], &key).await;

    let rows = by_prompt(answers);
    let url = format!("{}/v1/chat/completions", gateway.url);
    let mut served = HashMap::<String, usize>::new();
    for decision in decisions.iter().take(ASKED) {
        let rows = &rows[&text(&decision["prompt_id"])];
        let row = rows.iter().find(|row| row.model == tiers[0]).unwrap();
        let mut body = row.chat_request(ROUTE);
        body["control_tower"] = json!({"context": [{"text": row.context}]});
        let answer = stand.http.call(&url, &key, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let model = answer.header("x-control-tower-model");
        let cost = answer.header("x-control-tower-cost-usd");
        assert_eq!((&model, &cost), (&text(&decision["model"]), &text(&decision["cost"])), "{decision}");
        let recorded = rows.iter().find(|row| row.model == model).unwrap();
        assert_eq!(answer.json()["choices"][0]["message"]["content"], recorded.answer.as_str());
        assert_eq!(Some(recorded.quality.unwrap()), decision["quality"].as_f64());
        *served.entry(model).or_default() += 1;
    }
    println!("served by: {served:?}");
    assert!(served.len() > 1, "one model alone answers, so that nothing was decided: {served:?}");
}

/// The cascade of `control-tower cascade fit`, and what it makes of the half that it was not fitted on.
fn fitted(dir: &Path, answers: &Path) -> (Value, Vec<Value>) {
    let file = |name: &str| dir.join(name).display().to_string();
    let [out, held, decisions] = [file("cascade.json"), file("held.json"), file("decisions.jsonl")];
    let tiers = TIERS.map(|(name, _, _)| name).join(",");
    let prices = TIERS.map(|(name, input, output)| format!("--price={name}={input}/{output}"));
    let answers = answers.display().to_string();
    let mut args =
        vec!["cascade", "fit", "--lexical", "--splits", "1", "--resamples", "1", "--target-cost", "48%"];
    args.extend(["--answers", &answers, "--tiers", &tiers, "--out", &out, "--hold-out", &held]);
    args.extend(["--decisions", &decisions]);
    args.extend(prices.iter().map(String::as_str));
    let fit = crate::tower::run(&args);
    assert!(fit.status.success(), "{}", String::from_utf8_lossy(&fit.stderr));
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let decisions = read(&decisions).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (serde_json::from_str(&read(&out)).unwrap(), decisions)
}

fn by_prompt(answers: &Path) -> HashMap<String, Vec<sim::Row>> {
    let mut prompts = HashMap::<String, Vec<sim::Row>>::new();
    for row in sim::rows(answers).unwrap() {
        prompts.entry(row.prompt_id.clone().unwrap()).or_default().push(row);
    }
    prompts
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Prompts of two kinds. The small model is right about fees and makes up who was there; the middle one is right about half of those;
/// the large one nearly always is.
fn made_up_answers() -> String {
    let mut lines = String::new();
    for n in 0..80 {
        let (fee, year) = (20 + n, 1900 + n);
        let context =
            format!("Entry costs {fee} euros. The hall in street {n} was opened in {year} by the mayor.");
        let is_fee = n % 2 == 0;
        let prompt =
            if is_fee { "What does entry cost?" } else { "Tell me about the hall and who opened it" };
        let right = if is_fee {
            format!("Entry costs {fee} euros.")
        } else {
            format!("The mayor opened it in {year}.")
        };
        let wrong = format!("Purple zebras from Rome danced there in {}.", 3_000 + n);
        let good = [is_fee, is_fee || n % 4 == 1, n % 16 != 3];
        for ((name, _, _), good) in TIERS.into_iter().zip(good) {
            let row = json!({
                "prompt_id": format!("p{n}"), "prompt": prompt, "context": context, "model": format!("made-up/{name}"),
                "answer": if good { &right } else { &wrong }, "quality": u8::from(good), "group": format!("g{n}"),
                "tokens_in_est": 100 + n, "tokens_out_est": 10 + n % 3,
            });
            writeln!(lines, "{row}").unwrap();
        }
    }
    lines
}
