//! What a prompt and an experiment cost a call.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![expect(clippy::unwrap_used, reason = "a bench")]

use contracts::policy::experiment::Experiment;
use contracts::policy::prompt::Prompt;
use criterion::{Criterion, criterion_group, criterion_main};
use prompts::{Body, Call, Compiled, Dealer, Form, Subject, merge};
use serde_json::json;
use std::hint::black_box;

fn render(c: &mut Criterion) {
    let prompt: Prompt = serde_json::from_value(json!({
        "messages": [
            {"role": "system", "content": format!("{}Answer {{{{ name }}}} in a {{{{ tone }}}} tone.", "Stay with the facts. ".repeat(30))},
            {"role": "user", "content": "{% for item in items %}- {{ item }}\n{% endfor %}"},
        ],
        "variables": {
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "tone": {"enum": ["kind", "terse"], "default": "kind"},
                           "items": {"type": "array", "items": {"type": "string"}}},
        },
    }))
    .unwrap();
    let compiled = Compiled::new(&prompt).unwrap();
    let text = r#"{"name": "greeting", "label": "production", "variables": {"name": "Ada", "items": ["a", "b", "c", "d"]}}"#;
    let call = Call::parse(text).unwrap();
    let messages = compiled.render(&call.variables).unwrap();
    let body = format!(
        r#"{{"model":"a","prompt":{text},"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(2000)
    );
    c.bench_function("parse the call", |b| b.iter(|| Call::parse(black_box(text))));
    c.bench_function("render two messages", |b| b.iter(|| compiled.render(black_box(&call.variables))));
    c.bench_function("merge into 2 KiB", |b| {
        b.iter(|| {
            let body = Body::read(black_box(body.as_bytes()))?;
            merge(Form::Chat, &body, &messages, compiled.defaults())
        });
    });
}

fn deal(c: &mut Criterion) {
    let arms: Vec<_> = (0..4).map(|n| json!({"name": format!("arm-{n}"), "weight": n + 1})).collect();
    let experiment: Experiment = serde_json::from_value(json!({"arms": arms})).unwrap();
    let dealer = Dealer::new("checkout", &experiment);
    let subject = Subject { user: Some("user-8c1f2a7e-52f0"), ..Subject::default() };
    c.bench_function("deal one of four arms", |b| b.iter(|| dealer.deal(black_box(&subject))));
}

criterion_group!(benches, render, deal);
criterion_main!(benches);
