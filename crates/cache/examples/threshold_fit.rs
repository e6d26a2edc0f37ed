//! Fits a threshold: hit and false-hit rate of pairs of questions at each threshold, under each guard.
//!
//! `cargo run -p cache --example threshold_fit -- [GROUNDING_TRAIN]` with `crates/cache/testdata/questions.txt`, and with two data
//! sets of `grounding/train.jsonl.gz` where its path is given.

use anyhow::{Context, Result, bail};
use cache::fit::{Pair, curve, fit};
use cache::{Facts, Vector};
use contracts::policy::cache::Guard;
use flate2::read::GzDecoder;
use inference::{Embedder, EmbedderOptions, models};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;

/// Two texts, and whether they mean the same.
struct Labelled {
    kind: &'static str,
    one: String,
    other: String,
    same: bool,
}

const GUARDS: [Guard; 3] = [Guard::Off, Guard::Facts, Guard::Strict];

fn main() -> Result<()> {
    let dir = models::find(None, None)?;
    let embedder = Embedder::load(&dir, &EmbedderOptions { threads: 2, ..EmbedderOptions::default() })?;
    let mut out = stdout().lock();
    let questions = questions(include_str!("../testdata/questions.txt"))?;
    report(&mut out, "questions", &embedder, &questions)?;
    if let Some(path) = std::env::args().nth(1) {
        let rows = rows(Path::new(&path)).with_context(|| format!("read {path}"))?;
        for dataset in ["summedits", "fever-symmetric"] {
            report(&mut out, dataset, &embedder, &edits(&rows, dataset))?;
        }
    }
    Ok(())
}

fn report(out: &mut impl Write, name: &str, embedder: &Embedder, labelled: &[Labelled]) -> Result<()> {
    let texts: Vec<&str> = labelled
        .iter()
        .flat_map(|pair| [pair.one.as_str(), pair.other.as_str()])
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let vectors = embedder.embed(&texts)?;
    let known: HashMap<&str, (Vector, Facts)> = texts
        .iter()
        .zip(&vectors)
        .map(|(text, vector)| {
            let vector = Vector::new(vector).context("a vector without length")?;
            Ok((*text, (vector, Facts::of(text))))
        })
        .collect::<Result<_>>()?;
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in labelled {
        *kinds.entry(pair.kind).or_default() += 1;
    }
    writeln!(out, "\n## {name}: {} texts, pairs {kinds:?}", texts.len())?;
    let thresholds: Vec<f64> =
        (12..20).map(|step| f64::from(step) * 0.05).chain([0.92, 0.94, 0.96, 0.98]).collect();
    for guard in GUARDS {
        let compared = |pair: &Labelled| {
            let ((one, said), (other, heard)) = (&known[pair.one.as_str()], &known[pair.other.as_str()]);
            Pair { similarity: one.cosine(other), vetoed: said.veto(heard, guard).is_some(), same: pair.same }
        };
        let pairs: Vec<Pair> = labelled.iter().map(compared).collect();
        writeln!(out, "\nguard {guard:?}")?;
        for point in curve(&pairs, &thresholds) {
            let (hit, miss, upper) = (point.hit_rate, point.false_hit_rate, point.false_hit_rate_upper);
            write!(
                out,
                "| {:.2} | {:.1} | {:.2} (≤ {:.2}) |",
                point.threshold,
                hit * 100.0,
                miss * 100.0,
                upper * 100.0
            )?;
            for kind in kinds.keys() {
                let of: Vec<(&Labelled, &Pair)> =
                    labelled.iter().zip(&pairs).filter(|(pair, _)| pair.kind == *kind).collect();
                let hits = of
                    .iter()
                    .filter(|(_, p)| !p.vetoed && f64::from(p.similarity) >= point.threshold)
                    .count();
                write!(out, " {kind} {hits}/{}", of.len())?;
            }
            writeln!(out)?;
        }
        for target in [0.0, 0.005, 0.01, 0.02, 0.05] {
            if let Some(point) = fit(&pairs, target) {
                let (hit, miss) = (point.hit_rate * 100.0, point.false_hit_rate * 100.0);
                writeln!(
                    out,
                    "false hits <= {:.1}%: threshold {:.3}, hits {hit:.1}%, false {miss:.2}%",
                    target * 100.0,
                    point.threshold
                )?;
            }
        }
        let vetoed = |same: bool| {
            let of: Vec<&Pair> = pairs.iter().filter(|pair| pair.same == same).collect();
            (of.iter().filter(|pair| pair.vetoed).count(), of.len())
        };
        writeln!(out, "vetoed of the same: {:?}, of others: {:?}", vetoed(true), vetoed(false))?;
        for same in [true, false] {
            let mut worst: Vec<(&Labelled, &Pair)> = labelled
                .iter()
                .zip(&pairs)
                .filter(|(_, pair)| pair.same == same && pair.vetoed == same)
                .collect();
            worst.sort_by(|(_, one), (_, other)| other.similarity.total_cmp(&one.similarity));
            for (pair, found) in worst.iter().take(12) {
                let what = if same { "vetoed though the same" } else { "near though different" };
                writeln!(out, "  {what}: {:.3} {} | {}", found.similarity, pair.one, pair.other)?;
            }
        }
    }
    Ok(())
}

/// Pairs from blocks of questions. Of one intent and one value: the same. Of one intent and two values in the same words: an edit; in
/// other words: another value. Of a question and one that comes near: a near miss. Of first questions of two intents: others.
fn questions(text: &str) -> Result<Vec<Labelled>> {
    let mut found = Vec::new();
    let mut firsts: Vec<String> = Vec::new();
    for block in text.split("\n\n") {
        let lines: Vec<&str> =
            block.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let values: Vec<&str> = lines
            .iter()
            .find_map(|line| line.strip_prefix("= "))
            .map_or_else(|| vec![""], |line| line.split(" | ").collect());
        let says: Vec<&str> = lines.iter().filter(|line| !line.starts_with(['=', '-'])).copied().collect();
        if lines.is_empty() {
            continue;
        }
        let Some(first) = says.first() else { bail!("a block without a question: {block}") };
        firsts.push(first.replace("{}", values[0]));
        let mut push =
            |kind, one: String, other: String, same| found.push(Labelled { kind, one, other, same });
        for (place, value) in values.iter().enumerate() {
            for (row, say) in says.iter().enumerate() {
                for other in &says[row + 1..] {
                    push("same", say.replace("{}", value), other.replace("{}", value), true);
                }
                for near in lines.iter().filter_map(|line| line.strip_prefix("- ")) {
                    push("near miss", say.replace("{}", value), near.replace("{}", value), false);
                }
                for other_value in &values[place + 1..] {
                    for (other_row, other) in says.iter().enumerate() {
                        let kind = if row == other_row { "edit" } else { "other value" };
                        push(kind, say.replace("{}", value), other.replace("{}", other_value), false);
                    }
                }
            }
        }
    }
    for (place, one) in firsts.iter().enumerate() {
        for other in &firsts[place + 1..] {
            found.push(Labelled {
                kind: "other intent",
                one: one.clone(),
                other: other.clone(),
                same: false,
            });
        }
    }
    Ok(found)
}

struct Row {
    dataset: String,
    group: String,
    answer: String,
    unsupported: bool,
}

fn rows(path: &Path) -> Result<Vec<Row>> {
    let mut reader = BufReader::new(GzDecoder::new(std::fs::File::open(path)?));
    let mut rows = Vec::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let json: serde_json::Value = serde_json::from_slice(&line)?;
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        rows.push(Row {
            dataset: text("dataset"),
            group: text("group"),
            answer: text("answer"),
            unsupported: json["label"].as_u64() == Some(1),
        });
        line.clear();
    }
    Ok(rows)
}

/// Statements about one context: two that it supports are edits that keep the sense, one that it supports and one that it does not
/// are edits that change it. At most twenty of each from one context.
fn edits(rows: &[Row], dataset: &str) -> Vec<Labelled> {
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.dataset == dataset && row.answer.len() <= 800) {
        groups.entry(&row.group).or_default().push(row);
    }
    let mut found = Vec::new();
    for group in groups.values() {
        for unsupported in [false, true] {
            let pairs = group
                .iter()
                .enumerate()
                .flat_map(|(place, one)| group[place + 1..].iter().map(move |other| (*one, *other)));
            let meant = pairs.filter(|(one, other)| {
                (one.unsupported != other.unsupported) == unsupported
                    && !(one.unsupported && other.unsupported)
            });
            // Two supported statements of FEVER may say different things.
            let meant = meant.filter(|_| unsupported || dataset == "summedits");
            for (one, other) in meant.filter(|(one, other)| one.answer != other.answer).take(20) {
                let kind = if unsupported { "sense changed" } else { "sense kept" };
                found.push(Labelled {
                    kind,
                    one: one.answer.clone(),
                    other: other.answer.clone(),
                    same: !unsupported,
                });
            }
        }
    }
    found
}
