//! How long the grounding detector takes on one core: an answer of 200 tokens against a context of 2,000, made up from a fixed
//! vocabulary, each pair different from the last.
//!
//! `cargo run --release -p inference --example grounding_rate`

#![expect(clippy::print_stdout, reason = "a measurement is for reading")]

use inference::grounding::{Detector, DetectorOptions, Passage, Stage, Subject};
use inference::{Embedder, EmbedderOptions, models};
use std::sync::Arc;
use std::time::{Duration, Instant};

const VOCABULARY: &str = "the a of in and to was with for on company river London report 1998 market growth Anna Miller \
     increased police station water 12 percent million treaty signed after before weather museum opened Berlin team won match \
     players season government minister said new law passed Paris 2004 school students research study found evidence patients \
     treatment doctor hospital music album released singer band record film director award year history century building";

fn main() -> anyhow::Result<()> {
    let words: Vec<&str> = VOCABULARY.split_whitespace().collect();
    let mut state = 7_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    // A word is 1.1 tokens here, with the full stops; sentences have 18 words.
    let mut text = |tokens: usize| {
        let count = tokens * 10 / 11;
        let mut out = String::new();
        for at in 0..count {
            out.push_str(words[next(words.len())]);
            out.push_str(if at % 18 == 17 || at + 1 == count { ". " } else { " " });
        }
        out
    };
    let pairs: Vec<(String, String)> = (0..40).map(|_| (text(2_000), text(200))).collect();
    let lexical = Detector::new(DetectorOptions::default());
    let embedder = Embedder::load(&models::find(None, None)?, &EmbedderOptions::default())?;
    let full = lexical.clone().with_embedder(Arc::new(embedder));
    for (name, detector, stage) in [
        ("lexical", &lexical, Stage::Lexical),
        ("full, cold cache", &full, Stage::Full),
        ("full, warm cache", &full, Stage::Full),
    ] {
        let mut times: Vec<Duration> = Vec::new();
        for (context, answer) in &pairs {
            let context = [Passage { id: "", text: context }];
            let start = Instant::now();
            let found = detector.assess(&Subject { question: None, context: &context, answer }, None);
            times.push(start.elapsed());
            anyhow::ensure!(found.stage == stage, "{name}: reached {:?} only", found.stage);
        }
        times.sort_unstable();
        let rate = 40.0 / times.iter().sum::<Duration>().as_secs_f64();
        println!("{name}: p50 {:.1?}, p90 {:.1?}, {rate:.1} answers/s", times[20], times[36]);
    }
    Ok(())
}
