//! What judges say of a call: the answer's sentences coloured by how far the context supports them, each linked to its evidence, and
//! the other judges as a list.

use crate::components::badge::{Badge, Tone};
use crate::transcript::{self, Part};
use contracts::Verdict;
use contracts::reads::CallDetail;
use leptos::prelude::*;
use serde::Deserialize;
use serde_json::Value;

/// A claim as the grounding judge keeps it.
#[derive(Debug, Clone, Deserialize)]
struct Claim {
    range: Range,
    kind: String,
    support: f64,
    reason: Option<String>,
    evidence: Option<Evidence>,
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Range {
    start: usize,
    end: usize,
}

/// Where a claim's evidence stands.
#[derive(Debug, Clone, Deserialize)]
struct Evidence {
    passage: usize,
    range: Range,
}

/// A stretch of the answer: text, and the claim that it is, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    text: String,
    claim: Option<usize>,
}

/// The pane.
#[component]
pub(crate) fn Verdicts(detail: CallDetail) -> impl IntoView {
    let newest = newest(&detail.verdicts);
    let grounding = newest.iter().find(|verdict| verdict.judge == "grounding" && verdict.score.is_some());
    let support = grounding.map(|verdict| supported(&answer(&detail), verdict));
    let rows = newest.iter().map(|verdict| row(verdict)).collect_view();
    view! {
        <section class="card verdicts">
            <h2>"Evaluation"</h2>
            {support}
            <table class="grid plain">
                <thead>
                    <tr>
                        <th scope="col">"Judge"</th>
                        <th scope="col">"Verdict"</th>
                        <th scope="col" class="right">"Score"</th>
                        <th scope="col">"Reason"</th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </section>
    }
    .into_any()
}

/// Of each judge the verdict of the newest version; they come newest first.
fn newest(verdicts: &[Verdict]) -> Vec<&Verdict> {
    let mut newest: Vec<&Verdict> = Vec::new();
    for verdict in verdicts {
        if !newest.iter().any(|known| known.judge == verdict.judge) {
            newest.push(verdict);
        }
    }
    newest
}

/// The answer as the judges saw it: the text of the first message.
fn answer(detail: &CallDetail) -> String {
    let Some(span) = transcript::speaking_span(detail) else { return String::new() };
    let messages = transcript::messages(&span.output_messages, "assistant");
    let parts = messages.into_iter().next().map(|message| message.parts).unwrap_or_default();
    let texts =
        parts.into_iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None });
    texts.collect::<Vec<String>>().join("\n")
}

/// The answer cut at its claims. Ranges that do not fit the text, because it was cut when it was recorded, are left out.
fn pieces(answer: &str, claims: &[Claim]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let plain = |text: &str| Piece { text: text.to_owned(), claim: None };
    for (number, claim) in claims.iter().enumerate().filter(|(_, claim)| !is_detail(claim)) {
        let Range { start, end } = claim.range;
        let (Some(before), Some(text)) = (answer.get(at..start), answer.get(start..end)) else { continue };
        if !before.is_empty() {
            pieces.push(plain(before));
        }
        pieces.push(Piece { text: text.to_owned(), claim: Some(number) });
        at = end;
    }
    pieces.extend(answer.get(at..).filter(|rest| !rest.is_empty()).map(plain));
    pieces
}

/// Numbers, dates and names are details of the claim around them.
fn is_detail(claim: &Claim) -> bool {
    matches!(claim.kind.as_str(), "number" | "date" | "name")
}

fn supported(answer: &str, verdict: &Verdict) -> AnyView {
    let claims: Vec<Claim> = serde_json::from_value(verdict.details["claims"].clone()).unwrap_or_default();
    let text = pieces(answer, &claims)
        .into_iter()
        .map(|piece| match piece.claim.and_then(|number| Some((number, claims.get(number)?))) {
            None => view! { <span>{piece.text}</span> }.into_any(),
            Some((number, claim)) => view! {
                <a class=tone(claim.support) href=format!("#claim-{number}") title=percent(claim.support)>{piece.text}</a>
            }
            .into_any(),
        })
        .collect_view();
    let list = claims
        .iter()
        .enumerate()
        .filter(|(_, claim)| !is_detail(claim) || claim.support < 0.5)
        .map(|(number, claim)| evidence(answer, number, claim, &verdict.details["passages"]))
        .collect_view();
    view! {
        <p class="answer">{text}</p>
        <p class="quiet-note">{verdict.explanation.clone()}</p>
        <details class="fold">
            <summary>"Evidence for each claim"</summary>
            <ol class="claims">{list}</ol>
        </details>
    }
    .into_any()
}

fn evidence(answer: &str, number: usize, claim: &Claim, passages: &Value) -> AnyView {
    let said = answer.get(claim.range.start..claim.range.end).unwrap_or_default().to_owned();
    let found = claim.evidence.as_ref().and_then(|evidence| quote(evidence, passages));
    let why = claim.reason.as_deref().map(reason);
    view! {
        <li id=format!("claim-{number}")>
            <span class=tone(claim.support)>{said}</span>
            <span class="quiet-note num">{percent(claim.support)}</span>
            {why.map(|why| view! { <Badge tone=Tone::Bad text=why.to_owned()/> })}
            {found.map(|(passage, text)| view! { <blockquote><cite>{passage}</cite>" "{text}</blockquote> })}
        </li>
    }
    .into_any()
}

/// The name of the passage and the words that were found.
fn quote(evidence: &Evidence, passages: &Value) -> Option<(String, String)> {
    let passage =
        passages.as_array()?.iter().find(|p| p["index"].as_u64() == u64::try_from(evidence.passage).ok())?;
    let quotes = passage["quotes"].as_array()?;
    let wanted = |quote: &&Value| {
        quote["start"].as_u64() == u64::try_from(evidence.range.start).ok()
            && quote["end"].as_u64() == u64::try_from(evidence.range.end).ok()
    };
    let text = quotes.iter().find(wanted)?["text"].as_str()?.to_owned();
    let named = [&passage["source"], &passage["id"]];
    let names: Vec<&str> =
        named.into_iter().filter_map(Value::as_str).filter(|name| !name.is_empty()).collect();
    Some((names.join(" · "), text))
}

fn reason(reason: &str) -> &str {
    match reason {
        "unsupported_entity" => "names something that the context does not",
        "number_mismatch" => "another number than the context's",
        "negation" => "denies what the context says, or the other way round",
        "no_evidence" => "nothing in the context says so",
        other => other,
    }
}

fn tone(support: f64) -> &'static str {
    if support >= 0.75 {
        "claim good"
    } else if support >= 0.5 {
        "claim weak"
    } else {
        "claim bad"
    }
}

fn percent(share: f64) -> String {
    format!("{:.0}% supported", share * 100.0)
}

fn row(verdict: &Verdict) -> AnyView {
    let tone = match verdict.label.as_str() {
        "pass" | "clean" | "answered" | "certain" => Tone::Good,
        "not_applicable" | "error" => Tone::Quiet,
        _ => Tone::Bad,
    };
    let score = verdict.score.map_or_else(|| String::from("–"), |score| format!("{score:.2}"));
    view! {
        <tr>
            <th scope="row" title=format!("version {}", verdict.version)>{verdict.judge.clone()}</th>
            <td><Badge tone text=verdict.label.replace('_', " ")/></td>
            <td class="right num">{score}</td>
            <td class="breakable">{verdict.explanation.clone()}</td>
        </tr>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(kind: &str, start: usize, end: usize) -> Claim {
        Claim {
            range: Range { start, end },
            kind: kind.to_owned(),
            support: 0.9,
            reason: None,
            evidence: None,
        }
    }

    #[test]
    fn the_answer_is_whole_whatever_its_claims() {
        let answer = "Rome is old. Café is é.";
        let claims = [claim("sentence", 0, 12), claim("number", 3, 4), claim("sentence", 13, 25)];
        let found = pieces(answer, &claims);
        let text: String = found.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(text, answer);
        assert_eq!(found.iter().map(|piece| piece.claim).collect::<Vec<_>>(), [Some(0), None, Some(2)]);
        // Beyond the text, within a character, overlapping: left out, and nothing is lost.
        let odd = [
            claim("sentence", 0, 12),
            claim("sentence", 5, 14),
            claim("sentence", 13, 17),
            claim("sentence", 20, 99),
        ];
        let text: String = pieces(answer, &odd).iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(text, answer);
    }
}
