//! `control-tower eval detector`: how well the grounding detector tells supported answers from unsupported ones, on labelled
//! answers, beside the lexical baseline (the share of an answer's words that its context lacks).

mod rows;
mod table;

use crate::output::say;
use anyhow::Context;
use clap::Args;
use inference::grounding::{Detector, DetectorOptions, Passage, Subject};
use inference::{Embedder, EmbedderOptions, models};
use rows::Row;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use table::Scored;

/// `control-tower eval detector`.
#[derive(Debug, Args)]
pub(crate) struct DetectorArgs {
    /// Labelled answers: JSON Lines, plain or .gz, with the fields context, answer, label (1 = contains something that the
    /// context does not support) and, where known, dataset, question, task, model, spans.
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// Print one JSON object a line for each data set and slice.
    #[arg(long)]
    pub(crate) json: bool,
    /// Use words alone, not the embedder.
    #[arg(long)]
    pub(crate) lexical: bool,
    /// The embedder's directory; without it, the usual places are searched.
    #[arg(long, value_name = "DIR")]
    pub(crate) model_dir: Option<PathBuf>,
    /// Resamples of the bootstrap intervals.
    #[arg(long, default_value_t = 500)]
    pub(crate) resamples: usize,
}

/// Reads, scores, prints.
pub(crate) fn run(args: &DetectorArgs) -> anyhow::Result<()> {
    let rows = rows::read(&args.data)?;
    let embedder = if args.lexical { None } else { embedder(args)? };
    let mut detector = Detector::new(DetectorOptions::default());
    if let Some(embedder) = &embedder {
        detector = detector.with_embedder(Arc::clone(embedder));
    }
    let scored = score_all(&rows, &detector, embedder.as_deref())?;
    let slices = table::slices(&scored, args.resamples);
    if args.json {
        for slice in &slices {
            say(&serde_json::to_string(slice).context("writing a slice as JSON")?);
        }
    } else {
        for line in table::lines(&slices) {
            say(&line);
        }
    }
    Ok(())
}

/// The embedder, where there is one; one that was named must be there.
fn embedder(args: &DetectorArgs) -> anyhow::Result<Option<Arc<Embedder>>> {
    let dir = match models::find(args.model_dir.as_deref(), None) {
        Ok(dir) => dir,
        Err(error) if args.model_dir.is_some() => return Err(error).context("looking for the embedder"),
        Err(_) => return Ok(None),
    };
    let loaded = Embedder::load(&dir, &EmbedderOptions::default());
    Ok(Some(Arc::new(loaded.with_context(|| format!("loading the embedder of {}", dir.display()))?)))
}

/// Scores the rows on all cores. The order, and so the result, does not depend on how many there are.
fn score_all(rows: &[Row], detector: &Detector, embedder: Option<&Embedder>) -> anyhow::Result<Vec<Scored>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = rows.len().div_ceil(cores).max(1);
    let parts: Vec<anyhow::Result<Vec<Scored>>> = std::thread::scope(|scope| {
        let work = |part| move || -> anyhow::Result<Vec<Scored>> { score_part(part, detector, embedder) };
        let workers: Vec<_> = rows.chunks(share).map(|part| scope.spawn(work(part))).collect();
        let gone = || Err(anyhow::anyhow!("a scoring thread ended early"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| gone())).collect()
    });
    let mut out = Vec::with_capacity(rows.len());
    for part in parts {
        out.extend(part?);
    }
    Ok(out)
}

fn score_part(rows: &[Row], detector: &Detector, embedder: Option<&Embedder>) -> anyhow::Result<Vec<Scored>> {
    rows.iter().map(|row| score(row, detector, embedder)).collect()
}

fn score(row: &Row, detector: &Detector, embedder: Option<&Embedder>) -> anyhow::Result<Scored> {
    let context = [Passage { id: "", text: &row.context }];
    let subject = Subject { question: row.question.as_deref(), context: &context, answer: &row.answer };
    let assessment = detector.assess(&subject, None);
    let distance = match embedder {
        Some(embedder) => Some(distance(row, embedder)?),
        None => None,
    };
    let marked = row.spans.as_ref().map(|spans| {
        let unsupported = assessment.claims.iter().filter(|c| !c.kind.is_detail() && c.support < 0.5);
        table::overlap(&row.answer, spans, &unsupported.map(|c| c.range.clone()).collect::<Vec<_>>())
    });
    Ok(Scored {
        dataset: row.dataset.clone(),
        task: row.task.clone(),
        model: row.model.clone(),
        positive: row.positive,
        probability: assessment.hallucination,
        lexical: unknown_words(&row.answer, &row.context),
        distance,
        marked,
    })
}

/// The lexical baseline: the share of the answer's words that do not occur in the context.
fn unknown_words(answer: &str, context: &str) -> f64 {
    let words = |text: &str| -> Vec<String> {
        let parts = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        parts.map(str::to_lowercase).collect()
    };
    let known: HashSet<String> = words(context).into_iter().collect();
    let answer = words(answer);
    let unknown = answer.iter().filter(|word| !known.contains(*word)).count();
    table::ratio(unknown, answer.len().max(1))
}

/// The embedding-only baseline: one less the cosine of answer and context, both read as far as the embedder reads.
fn distance(row: &Row, embedder: &Embedder) -> anyhow::Result<f64> {
    let vectors = embedder
        .embed(&[&row.answer, &row.context])
        .with_context(|| format!("embedding line {}", row.line))?;
    let cosine = match vectors.as_slice() {
        [answer, context] => answer.iter().zip(context).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum(),
        _ => 0.0,
    };
    Ok(1.0 - cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_counts_words_that_the_context_lacks() {
        assert!((unknown_words("The cat sat there", "the CAT slept") - 0.5).abs() < 1e-12);
        assert!(unknown_words("", "anything").abs() < 1e-12);
    }

    #[test]
    fn a_supported_answer_scores_below_an_unsupported_one() {
        let row = |answer: &str| Row {
            line: 1,
            dataset: "d".to_owned(),
            context: "Marie Curie was born in Warsaw in 1867. She won two Nobel prizes.".to_owned(),
            question: None,
            answer: answer.to_owned(),
            task: None,
            model: None,
            positive: false,
            spans: None,
        };
        let detector = Detector::new(DetectorOptions::default());
        let good = score(&row("Marie Curie was born in Warsaw in 1867."), &detector, None).unwrap();
        let bad =
            score(&row("Albert Einstein taught physics at Princeton until 1955."), &detector, None).unwrap();
        assert!(good.probability < bad.probability, "{} {}", good.probability, bad.probability);
    }
}
