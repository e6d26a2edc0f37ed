//! Recorded answers, read from JSON Lines and looked at as the gateway would. A line that cannot be used is an error which names
//! line, field, value and what is expected.

use super::prices::Price;
use super::resolve;
use anyhow::{Context, bail};
use cascade::fit::{Prompt, Recorded, Recording};
use cascade::{Answer, Request, RequestView, meaning_agreement};
use contracts::policy::cascade::Signal;
use inference::Embedder;
use inference::grounding::Detector;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Decompressed input beyond this is refused.
const MOST_BYTES: u64 = 4 << 30;

/// A recorded answer.
#[derive(Debug)]
pub(super) struct Row {
    prompt: String,
    context: Option<String>,
    model: String,
    answer: String,
    quality: f64,
    tokens_in: u64,
    tokens_out: u64,
    /// What tells this prompt from others.
    id: String,
    group: String,
}

/// What answers are looked at with.
#[derive(Clone, Copy)]
pub(super) struct Instruments<'a> {
    pub(super) detector: &'a Detector,
    /// Only where the agreement of meanings is wanted.
    pub(super) embedder: Option<&'a Embedder>,
}

/// Reads a file, plain or `.gz`. Lines end at `\n` alone: texts may hold other line breaks.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let is_compressed = path.extension().is_some_and(|ext| ext == "gz");
    let input: Box<dyn Read> =
        if is_compressed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = Vec::new();
    input.take(MOST_BYTES).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    if bytes.len() as u64 == MOST_BYTES {
        bail!("{} holds more than {MOST_BYTES} bytes", path.display());
    }
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let filled = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
    let rows: Vec<Row> = filled
        .map(|(at, line)| parse(line).with_context(|| format!("{} line {}", path.display(), at + 1)))
        .collect::<anyhow::Result<_>>()?;
    if rows.is_empty() {
        bail!("{} holds no rows", path.display());
    }
    Ok(rows)
}

fn parse(bytes: &[u8]) -> anyhow::Result<Row> {
    let value: Value = serde_json::from_slice(bytes).context("is no JSON")?;
    let Value::Object(row) = value else { bail!("is no JSON object") };
    let prompt = required(&row, "prompt")?;
    let context = optional(&row, "context")?;
    let id = match optional(&row, "prompt_id")? {
        Some(id) => id,
        None => format!("{prompt}\n{}", context.as_deref().unwrap_or_default()),
    };
    let quality = match row.get("quality").and_then(Value::as_f64) {
        Some(quality) if (0.0..=1.0).contains(&quality) => quality,
        _ => bail!("field `quality` is {}; expected a number of 0 to 1", shown(row.get("quality"))),
    };
    Ok(Row {
        model: required(&row, "model")?,
        answer: required(&row, "answer")?,
        quality,
        tokens_in: tokens(&row, "tokens_in_est")?,
        tokens_out: tokens(&row, "tokens_out_est")?,
        group: optional(&row, "group")?.unwrap_or_else(|| id.clone()),
        id,
        prompt,
        context,
    })
}

fn required(row: &Map<String, Value>, field: &str) -> anyhow::Result<String> {
    optional(row, field)?.with_context(|| format!("field `{field}` is missing or null; expected a text"))
}

fn optional(row: &Map<String, Value>, field: &str) -> anyhow::Result<Option<String>> {
    match row.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        other => bail!("field `{field}` is {}; expected a text", shown(other)),
    }
}

fn tokens(row: &Map<String, Value>, field: &str) -> anyhow::Result<u64> {
    let value = row.get(field);
    value
        .and_then(Value::as_u64)
        .with_context(|| format!("field `{field}` is {}; expected a whole number", shown(value)))
}

/// The beginning of a value, for an error.
fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "missing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The tiers as they are recorded, then the other models where they are wanted.
pub(super) fn models(rows: &[Row], tiers: &[String], with_others: bool) -> anyhow::Result<Vec<String>> {
    let recorded: BTreeSet<&String> = rows.iter().map(|row| &row.model).collect();
    let mut left: Vec<String> = recorded.into_iter().cloned().collect();
    let all = left.clone();
    let mut out = Vec::new();
    for tier in tiers {
        let name = resolve("--tiers", tier, &all)?;
        if out.contains(name) {
            bail!("--tiers: {tier:?} is not valid, expected each model once ({name} comes twice)");
        }
        out.push(name.clone());
    }
    left.retain(|name| with_others && !out.contains(name));
    out.extend(left);
    Ok(out)
}

/// What tells the prompts of a recording apart, in its order.
pub(super) fn ids(rows: &[Row], names: &[String], tiers: usize) -> Vec<String> {
    let prompts = whole_prompts(rows, names, tiers);
    prompts.iter().filter_map(|rows| rows.first()).map(|row| row.id.clone()).collect()
}

/// The answers to each prompt, in the order of their ids. Prompts that a tier did not answer say nothing of the route.
fn whole_prompts<'a>(rows: &'a [Row], names: &[String], tiers: usize) -> Vec<Vec<&'a Row>> {
    let mut prompts = BTreeMap::<&str, Vec<&Row>>::new();
    for row in rows {
        prompts.entry(&row.id).or_default().push(row);
    }
    let is_whole =
        |rows: &Vec<&Row>| names[..tiers].iter().all(|name| rows.iter().any(|row| row.model == *name));
    prompts.into_values().filter(is_whole).collect()
}

/// Computes the signals of all answers, on all cores. The result does not depend on how many there are.
pub(super) fn recording(
    rows: &[Row],
    names: &[String],
    tiers: usize,
    prices: &[Price],
    instruments: &Instruments<'_>,
) -> anyhow::Result<Recording> {
    let prompts = whole_prompts(rows, names, tiers);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = prompts.len().div_ceil(cores).max(1);
    let parts: Vec<anyhow::Result<Vec<Prompt>>> = std::thread::scope(|scope| {
        let work = |part: &'_ [Vec<&Row>]| -> anyhow::Result<Vec<Prompt>> {
            part.iter().map(|rows| prompt(rows, names, tiers, prices, instruments)).collect()
        };
        let workers: Vec<_> = prompts.chunks(share).map(|part| scope.spawn(move || work(part))).collect();
        let gone = || Err(anyhow::anyhow!("a thread ended early"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| gone())).collect()
    });
    let mut out = Recording { models: Vec::new(), tiers, prompts: Vec::with_capacity(prompts.len()) };
    for part in parts {
        out.prompts.extend(part?);
    }
    for name in names {
        out.models.push(name.parse().context("field `model`")?);
    }
    Ok(out)
}

fn prompt(
    rows: &[&Row],
    names: &[String],
    tiers: usize,
    prices: &[Price],
    instruments: &Instruments<'_>,
) -> anyhow::Result<Prompt> {
    let Some(first) = rows.first() else { bail!("a prompt without answers") };
    let context: Vec<&str> = first.context.as_deref().into_iter().collect();
    let request = Request { prompt: &first.prompt, context: &context, ..Request::default() };
    let view = RequestView::new(&request);
    let mut before: Option<Answer<'_>> = None;
    let mut answers = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let Some(row) = rows.iter().find(|row| row.model == *name) else {
            answers.push(None);
            continue;
        };
        let answer = Answer { text: &row.answer, ..Answer::default() };
        let mut signals = view.lexical(&answer, before.as_ref());
        signals = signals.or(&view.grounding(&answer, instruments.detector, None));
        if let Some((before, embedder)) = before.zip(instruments.embedder)
            && let Some(agreement) = meaning_agreement(answer.text, before.text, embedder)
        {
            signals.set(Signal::MeaningAgreement, agreement);
        }
        // Only tiers are asked one after another.
        before = (at + 1 < tiers).then_some(answer);
        let cost = match prices.get(at) {
            Some(price) => price.cost(row.tokens_in, row.tokens_out)?,
            None => contracts::Usd::ZERO,
        };
        answers.push(Some(Recorded { signals, quality: row.quality, cost }));
    }
    Ok(Prompt { group: first.group.clone(), request: *view.signals(), answers })
}
