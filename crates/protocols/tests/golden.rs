//! Translations against files: what goes in and what must come out, each checked by hand.
//!
//! `golden/requests/CASE/`: `FROM.json` is a client's request; every `to.PROVIDER.json` is what that provider gets, with the
//! warnings. `golden/answers/CASE/`: `PROVIDER.json` (or `.sse`, or `.frames`) is what a provider says; every `to.CLIENT.json`
//! (`.sse`) is what that client gets. `GOLDEN=write` writes the results in place of comparing them, for a look at the difference.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use protocols::{Context, Dialect, Facts, Options, StreamTranslator, answer, encode_frame, request};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const DIALECTS: [Dialect; 5] =
    [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

fn dialect(name: &str) -> Dialect {
    DIALECTS
        .into_iter()
        .find(|dialect| dialect.as_str() == name)
        .unwrap_or_else(|| panic!("no dialect {name}"))
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kind);
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn files(case: &Path) -> Vec<(String, String, PathBuf)> {
    let mut files: Vec<_> = fs::read_dir(case)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let (stem, kind) = name.rsplit_once('.').unwrap();
            (stem.to_owned(), kind.to_owned(), path)
        })
        .collect();
    files.sort();
    files
}

fn options(to: Dialect) -> Options<'static> {
    Options {
        upstream_model: match to {
            Dialect::Anthropic => "claude-sonnet-4-5",
            Dialect::Gemini => "gemini-2.5-pro",
            Dialect::Bedrock => "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            Dialect::OpenAiChat | Dialect::OpenAiResponses => "gpt-5.1",
        },
        default_max_tokens: 4_096,
        keep_reasoning: false,
        max_completion_tokens: true,
        asks_stream_usage: true,
        response_id: "req_1",
        created: 1_767_225_600,
    }
}

fn context() -> Context {
    Context::new("req_1", 1_767_225_600, "asked-model")
}

/// Compares with the file, or writes it. Whether it was the same.
fn check(path: &Path, got: &str) -> bool {
    if std::env::var_os("GOLDEN").is_some() {
        fs::write(path, got).unwrap();
        return true;
    }
    let expected = fs::read_to_string(path).unwrap();
    let same = match (serde_json::from_str::<Value>(&expected), serde_json::from_str::<Value>(got)) {
        (Ok(expected), Ok(got)) => expected == got,
        _ => expected == got,
    };
    if !same {
        eprintln!("--- {}\n{got}", path.display());
    }
    same
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[test]
fn requests() {
    let mut failed = Vec::new();
    for case in cases("requests") {
        let files = files(&case);
        let (from, _, path) = files.iter().find(|(stem, ..)| !stem.starts_with("to.")).expect("a request");
        let body = fs::read(path).unwrap();
        for (to, _, path) in files.iter().filter_map(|(s, k, p)| Some((s.strip_prefix("to.")?, k, p))) {
            let to = dialect(to);
            let got = match request(dialect(from), to, &body, &options(to)) {
                Ok(out) => {
                    let warnings: Vec<String> = out.warnings.iter().map(ToString::to_string).collect();
                    let body: Value = serde_json::from_slice(&out.body).unwrap();
                    json!({"path": out.path, "body": body, "warnings": warnings})
                }
                Err(invalid) => json!({"error": invalid.to_string()}),
            };
            if !check(path, &pretty(&got)) {
                failed.push(path.clone());
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// What the provider sent: frames are written as lines of `type<TAB>payload`.
fn provider_bytes(kind: &str, path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    if kind != "frames" {
        return bytes;
    }
    let text = String::from_utf8(bytes).unwrap();
    text.lines()
        .flat_map(|line| {
            let (name, payload) = line.split_once('\t').unwrap();
            let head = match name.strip_suffix("Exception") {
                Some(_) => [(":message-type", "exception"), (":exception-type", name)],
                None => [(":message-type", "event"), (":event-type", name)],
            };
            encode_frame(&head, payload.as_bytes())
        })
        .collect()
}

fn stream(from: Dialect, to: Dialect, pieces: &[&[u8]]) -> (String, Facts) {
    let mut translator = StreamTranslator::new(from, to, context()).unwrap();
    let mut got = Vec::new();
    for piece in pieces {
        got.extend_from_slice(&translator.push(piece));
    }
    got.extend_from_slice(&translator.finish());
    assert!(translator.finish().is_empty(), "an end comes once");
    (String::from_utf8(got).unwrap(), translator.facts().clone())
}

fn facts_json(facts: &Facts) -> Value {
    let usage = facts.usage.map(|usage| serde_json::to_value(usage).unwrap());
    json!({
        "id": facts.id, "model": facts.model, "tier": facts.service_tier, "content": facts.has_content,
        "tool_call": facts.has_tool_call, "finish": facts.finish.as_ref().map(|f| format!("{f:?}")), "usage": usage,
        "error": facts.error.as_ref().map(|e| format!("{} {}", e.status, e.message)), "complete": facts.is_complete,
    })
}

#[test]
fn answers() {
    let mut failed = Vec::new();
    for case in cases("answers") {
        let files = files(&case);
        let (from, kind, path) =
            files.iter().find(|(stem, ..)| !stem.starts_with("to.") && stem != "facts").expect("an answer");
        let (from, body) = (dialect(from), provider_bytes(kind, path));
        for (to, _, path) in files.iter().filter_map(|(s, k, p)| Some((s.strip_prefix("to.")?, k, p))) {
            let to = dialect(to);
            let got = if kind == "json" {
                let got = answer(from, to, &body, &context()).unwrap();
                pretty(&serde_json::from_slice(&got.body).unwrap())
            } else {
                stream(from, to, &[&body]).0
            };
            if !check(path, &got) {
                failed.push(path.clone());
            }
        }
        if let Some((.., path)) = files.iter().find(|(stem, ..)| stem == "facts") {
            let facts = if kind == "json" {
                let got = answer(from, Dialect::OpenAiChat, &body, &context()).unwrap();
                json!({"id": got.id, "model": got.model, "tier": got.service_tier, "finish": got.finish.map(|f| format!("{f:?}")),
                    "usage": got.usage.map(|u| serde_json::to_value(u).unwrap())})
            } else {
                facts_json(&stream(from, Dialect::OpenAiChat, &[&body]).1)
            };
            if !check(path, &pretty(&facts)) {
                failed.push(path.clone());
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Wherever a stream is cut, in the middle of a letter, a number or a frame, the client gets the same bytes.
#[test]
fn streams_cut_anywhere_are_the_same() {
    let mut streams = 0;
    for case in cases("answers") {
        let files = files(&case);
        let (from, kind, path) =
            files.iter().find(|(stem, ..)| !stem.starts_with("to.") && stem != "facts").expect("an answer");
        if kind == "json" {
            continue;
        }
        streams += 1;
        let (from, body) = (dialect(from), provider_bytes(kind, path));
        for to in [Dialect::OpenAiChat, Dialect::Anthropic, Dialect::OpenAiResponses] {
            let whole = stream(from, to, &[&body]);
            for cut in 0..=body.len() {
                assert_eq!(
                    stream(from, to, &[&body[..cut], &body[cut..]]),
                    whole,
                    "{} at {cut}",
                    case.display()
                );
            }
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(stream(from, to, &bytes), whole, "{} byte by byte", case.display());
        }
    }
    assert!(streams >= 4);
}
