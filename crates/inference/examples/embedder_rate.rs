//! The embedder's side of `cargo xtask bench embedder`: takes texts, answers with seconds and vectors.
//!
//! A line of standard input is a JSON array of texts; the answer's line is `{"wall": …, "vectors": [[…], …]}`, where the wall
//! clock holds tokenising, the forward pass and pooling, and nothing of the JSON. Arguments: threads, and a model directory.

#![expect(clippy::print_stdout, reason = "it talks to the benchmark over standard output")]

use inference::{Embedder, EmbedderOptions, models};
use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let dir = models::find(arguments.next().as_deref().map(Path::new), None)?;
    let options = EmbedderOptions { threads, max_tokens: 512, ..EmbedderOptions::default() };
    let embedder = Embedder::load(&dir, &options)?;
    for line in std::io::stdin().lock().lines() {
        let texts: Vec<String> = serde_json::from_str(&line?)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let begun = Instant::now();
        let vectors = embedder.embed(&texts)?;
        let wall = begun.elapsed().as_secs_f64();
        println!("{}", serde_json::json!({ "wall": wall, "vectors": vectors }));
    }
    Ok(())
}
