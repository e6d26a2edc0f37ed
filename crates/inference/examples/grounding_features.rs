//! Writes the features that the grounding detector's head is trained on: a line of names, then a line for each row.
//!
//! `cargo run --release -p inference --example grounding_features -- DATA.jsonl[.gz] OUT [EVERY]`
//!
//! With EVERY, the embedder's features are added, for every `EVERYth` row only (others get the lexical ones): they take long.

use anyhow::{Context, bail};
use inference::grounding::{Detector, DetectorOptions, Passage, Subject};
use inference::{Embedder, EmbedderOptions, models};
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (data, out, every) = match arguments.as_slice() {
        [data, out] => (data, out, None),
        [data, out, every] => {
            (data, out, Some(every.parse::<usize>().context("EVERY is a number from 1")?.max(1)))
        }
        _ => bail!("usage: grounding_features DATA.jsonl[.gz] OUT [EVERY]"),
    };
    let mut text = String::new();
    let file = std::fs::File::open(data).with_context(|| format!("opening {data}"))?;
    if Path::new(data).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")) {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text)?;
    }
    let lexical = Detector::new(DetectorOptions::default());
    let full = if every.is_some() {
        let embedder = Embedder::load(&models::find(None, None)?, &EmbedderOptions::default())?;
        Some(lexical.clone().with_embedder(Arc::new(embedder)))
    } else {
        None
    };
    let mut out = BufWriter::new(std::fs::File::create(out).with_context(|| format!("creating {out}"))?);
    let names =
        serde_json::json!({"claim": Detector::claim_features(), "answer": Detector::answer_features()});
    writeln!(out, "{names}")?;
    for (number, line) in text.split('\n').enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: serde_json::Value =
            serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        let field = |name: &str| {
            row[name].as_str().with_context(|| format!("line {}: {name} is no text", number + 1))
        };
        let context = [Passage { id: "", text: field("context")? }];
        let subject =
            Subject { question: row["question"].as_str(), context: &context, answer: field("answer")? };
        let chosen = full.as_ref().filter(|_| every.is_some_and(|every| number % every == 0));
        writeln!(out, "{}", serde_json::to_string(&chosen.unwrap_or(&lexical).features(&subject)?)?)?;
    }
    out.flush()?;
    Ok(())
}
