//! What guarding costs a call: 4 KiB of text under 20 rules.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![expect(clippy::unwrap_used, reason = "a bench")]

use criterion::{Criterion, criterion_group, criterion_main};
use guard::{Guard, StreamGuard};
use serde_json::{Value, json};
use std::hint::black_box;
use std::sync::Arc;

fn rules() -> Value {
    let patterns = [
        r"\b[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b",
        r"[\w.+-]{1,32}@[\w-]{1,32}\.[a-z]{2,10}",
        r"\bsk-[A-Za-z0-9]{20,48}\b",
        r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b",
        r"\bAKIA[0-9A-Z]{16}\b",
        r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
        r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b",
        r"(?i)ignore (?:all|any|the) previous instructions",
        r"\b[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){3,7}\b",
        r"eyJ[A-Za-z0-9_-]{10,60}\.",
    ];
    let mut rules: Vec<Value> = patterns
        .iter()
        .enumerate()
        .map(|(n, pattern)| json!({"name": format!("p{n}"), "check": {"regex": {"patterns": [pattern]}}, "action": {"mask": {"with": "[x]"}}}))
        .collect();
    for n in 0..8 {
        let words: Vec<String> = (0..10).map(|w| format!("topic{n} number{w}")).collect();
        rules.push(json!({"name": format!("t{n}"), "check": {"topics": {"deny": words}}, "action": "block"}));
    }
    rules.push(json!({"name": "chars", "check": {"max_chars": 100_000}, "action": "block"}));
    rules.push(json!({"name": "tokens", "check": {"max_tokens": 100_000}, "action": "flag"}));
    json!(rules)
}

fn bench(c: &mut Criterion) {
    let spec = json!({"input": rules(), "output": rules()});
    let guard = Arc::new(Guard::new(&serde_json::from_value(spec).unwrap()).unwrap());
    let sentence =
        "The order of 12 May was shipped on time, and its number is 48213; our agent will call you back. ";
    let clean: String = sentence.chars().cycle().take(4096).collect();
    let mut dirty = clean.clone();
    dirty.replace_range(2000..2030, "write to ada.lovelace@math.org");
    assert!(guard.input(&[&clean], None).breaches.is_empty());
    c.bench_function("4 KiB, 20 rules, nothing found", |b| {
        b.iter(|| guard.input(black_box(&[&clean]), None));
    });
    c.bench_function("4 KiB, 20 rules, one mask", |b| b.iter(|| guard.input(black_box(&[&dirty]), None)));
    for size in [4, 64] {
        c.bench_function(&format!("4 KiB streamed in deltas of {size} bytes"), |b| {
            b.iter(|| {
                let mut stream = StreamGuard::new(guard.clone());
                let mut released = String::with_capacity(4200);
                for delta in clean.as_bytes().chunks(size) {
                    stream.push(std::str::from_utf8(delta).unwrap(), &mut released);
                }
                stream.finish(&mut released);
                released
            });
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
