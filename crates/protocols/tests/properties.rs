//! What holds for every request and every stream.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use protocols::{Context, Dialect, Options, StreamTranslator, UpstreamError, answer, count_tokens, request};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

const CLIENTS: [Dialect; 3] = [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic];
const PROVIDERS: [Dialect; 4] = [Dialect::OpenAiChat, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

fn options(model: &str) -> Options<'_> {
    Options {
        upstream_model: model,
        default_max_tokens: 4_096,
        keep_reasoning: false,
        max_completion_tokens: true,
        asks_stream_usage: true,
        response_id: "req_1",
        created: 1,
    }
}

fn context() -> Context {
    Context::new("req_1", 1, "m")
}

/// Every input among the golden files.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut seeds = Vec::new();
    for kind in ["requests", "answers"] {
        for case in fs::read_dir(root.join(kind)).unwrap() {
            for file in fs::read_dir(case.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if !name.starts_with("to.") && !name.starts_with("facts") {
                    seeds.push(fs::read(path).unwrap());
                }
            }
        }
    }
    seeds
});

/// All that can be done with bytes. Only that it ends counts.
fn everything(bytes: &[u8]) {
    for to in PROVIDERS {
        for from in CLIENTS {
            let _ = request(from, to, bytes, &options("gemini-3-pro"));
            let _ = answer(to, from, bytes, &context());
            let _ = stream(to, from, &[bytes]);
        }
        let _ = count_tokens(to, bytes, &options("claude-sonnet-4-5"));
        let _ = UpstreamError::read(500, bytes).body(to, "req_1");
    }
}

fn stream(from: Dialect, to: Dialect, pieces: &[&[u8]]) -> Vec<u8> {
    let mut translator = StreamTranslator::new(from, to, context()).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&translator.push(piece));
    }
    out.extend_from_slice(&translator.finish());
    assert!(translator.facts().is_complete || translator.facts().error.is_some());
    out
}

/// A seed with some of its bytes gone, doubled or changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0_u8..4, any::<u8>());
    (any::<prop::sample::Index>(), prop::collection::vec(edit, 0..6)).prop_map(|(seed, edits)| {
        let mut bytes = SEEDS[seed.index(SEEDS.len())].clone();
        for (at, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                2 => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Zéß🎉\"\\\\\n {}]{1,12}"
}

fn maybe<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::of(strategy)
}

/// An object of the members that are there.
fn object(members: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(
        members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect::<Map<_, _>>(),
    )
}

fn schema() -> impl Strategy<Value = Value> {
    (text(), any::<bool>())
        .prop_map(|(name, more)| json!({"type": "object", "properties": {name: {"type": "string"}}, "additionalProperties": more}))
}

fn number() -> impl Strategy<Value = Value> {
    (0_u32..100).prop_map(|n| json!(f64::from(n) / 100.0))
}

fn chat_part() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(|t| json!({"type": "text", "text": t})),
        Just(
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO", "detail": "high"}})
        ),
        Just(json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
        Just(json!({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}})),
        Just(
            json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}})
        ),
    ]
}

fn chat_content() -> impl Strategy<Value = Value> {
    prop_oneof![text().prop_map(Value::from), prop::collection::vec(chat_part(), 2..4).prop_map(Value::from)]
}

fn chat_turn() -> impl Strategy<Value = Vec<Value>> {
    let call = |n: usize| move |(name, arguments): (String, Value)| json!({"id": format!("call_{n}"), "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
    let calls = ((("[a-z]{1,5}", schema()).prop_map(call(0))), (("[a-z]{1,5}", schema()).prop_map(call(1))));
    prop_oneof![
        chat_content().prop_map(|content| vec![json!({"role": "user", "content": content})]),
        (text(), maybe(text())).prop_map(|(content, name)| vec![object(vec![
            ("role", Some(json!("assistant"))),
            ("content", Some(json!(content))),
            ("name", name.map(Value::from)),
        ])]),
        (text(), text()).prop_map(|(refusal, next)| vec![
            json!({"role": "assistant", "content": null, "refusal": refusal}),
            json!({"role": "developer", "content": next}),
        ]),
        (maybe(text()), calls, text(), text()).prop_map(|(content, (one, two), first, second)| vec![
            json!({"role": "assistant", "content": content, "tool_calls": [one, two]}),
            json!({"role": "tool", "tool_call_id": "call_0", "content": first}),
            json!({"role": "tool", "tool_call_id": "call_1", "content": second}),
        ]),
    ]
}

fn chat_request() -> impl Strategy<Value = Value> {
    let messages = prop::collection::vec(chat_turn(), 1..4).prop_map(|turns| turns.concat());
    let tools = prop::collection::vec(
        ("[a-z]{1,5}", schema(), maybe(any::<bool>())).prop_map(|(name, parameters, strict)| {
            json!({"type": "function", "function": object(vec![
                ("name", Some(json!(name))), ("description", Some(json!("d"))), ("parameters", Some(parameters)),
                ("strict", strict.map(Value::from)),
            ])})
        }),
        1..3,
    );
    let choice = prop::sample::select(vec![
        json!("auto"),
        json!("none"),
        json!("required"),
        json!({"type": "function", "function": {"name": "f"}}),
    ]);
    let format = prop_oneof![
        Just(json!({"type": "text"})),
        Just(json!({"type": "json_object"})),
        schema().prop_map(|schema| json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}})),
    ];
    let sampling = (maybe(number()), maybe(number()), maybe(0_u32..9), maybe(number()), maybe(1_u32..99));
    let effort = maybe(prop::sample::select(vec!["none", "minimal", "low", "medium", "high", "xhigh"]));
    let rest = (maybe(text()), effort, maybe(prop::collection::vec(text(), 1..3)), any::<bool>());
    (messages, maybe((tools, maybe(choice), maybe(any::<bool>()))), maybe(format), sampling, rest).prop_map(
        |(
            messages,
            tools,
            format,
            (temperature, top_p, seed, penalty, max),
            (user, effort, stop, stream),
        )| {
            let (tools, choice, parallel) = match tools {
                Some((tools, choice, parallel)) => {
                    (Some(Value::from(tools)), choice, parallel.map(Value::from))
                }
                None => (None, None, None),
            };
            object(vec![
                ("model", Some(json!("m"))),
                ("messages", Some(Value::from(messages))),
                ("tools", tools),
                ("tool_choice", choice),
                ("parallel_tool_calls", parallel),
                ("response_format", format),
                ("temperature", temperature),
                ("top_p", top_p),
                ("seed", seed.map(Value::from)),
                ("presence_penalty", penalty),
                ("max_completion_tokens", max.map(Value::from)),
                ("user", user.map(Value::from)),
                ("reasoning_effort", effort.map(Value::from)),
                ("stop", stop.map(Value::from)),
                ("stream", stream.then_some(json!(true))),
                ("stream_options", stream.then(|| json!({"include_usage": true}))),
            ])
        },
    )
}

fn cache() -> impl Strategy<Value = Option<Value>> {
    maybe(prop::sample::select(vec![
        json!({"type": "ephemeral"}),
        json!({"type": "ephemeral", "ttl": "5m"}),
        json!({"type": "ephemeral", "ttl": "1h"}),
    ]))
}

fn with_cache(value: &Value, cache: Option<Value>) -> Value {
    let mut value = value.clone();
    if let Some(cache) = cache {
        value["cache_control"] = cache;
    }
    value
}

fn anthropic_block() -> impl Strategy<Value = Value> {
    let block = prop_oneof![
        text().prop_map(|t| json!({"type": "text", "text": t})),
        Just(json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}})),
        Just(json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}})),
        text().prop_map(|t| json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": t}, "title": "t", "context": "c", "citations": {"enabled": true}})),
    ];
    (block, cache()).prop_map(|(block, cache)| with_cache(&block, cache))
}

fn anthropic_exchange() -> impl Strategy<Value = Vec<Value>> {
    let content = prop::collection::vec(anthropic_block(), 2..4);
    let result = (text(), cache(), any::<bool>()).prop_map(|(text, cache, is_error)| {
        let mut result = json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": text});
        if is_error {
            result["is_error"] = json!(true);
        }
        with_cache(&result, cache)
    });
    (content, text(), schema(), cache(), result).prop_map(|(content, said, input, cache, result)| {
        let call = json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": input});
        vec![
            json!({"role": "user", "content": content}),
            json!({"role": "assistant", "content": [
                {"type": "thinking", "thinking": said, "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "Emw"},
                {"type": "text", "text": said},
                with_cache(&call, cache),
            ]}),
            json!({"role": "user", "content": [result, {"type": "text", "text": "next"}]}),
            json!({"role": "assistant", "content": "plain"}),
        ]
    })
}

fn anthropic_request() -> impl Strategy<Value = Value> {
    let messages = prop::collection::vec(anthropic_exchange(), 1..3).prop_map(|turns| turns.concat());
    let system = prop_oneof![
        text().prop_map(Value::from),
        prop::collection::vec((text(), cache()), 2..3).prop_map(|texts| {
            texts
                .into_iter()
                .map(|(text, cache)| with_cache(&json!({"type": "text", "text": text}), cache))
                .collect()
        }),
    ];
    let tools = prop::collection::vec(
        ("[a-z]{1,5}", schema(), cache()).prop_map(|(name, schema, cache)| {
            with_cache(&json!({"name": name, "description": "d", "input_schema": schema}), cache)
        }),
        1..3,
    );
    let choice = prop::sample::select(vec![
        json!({"type": "auto", "disable_parallel_tool_use": true}),
        json!({"type": "none"}),
    ]);
    let thinking = prop::sample::select(vec![
        json!({"type": "enabled", "budget_tokens": 2000}),
        json!({"type": "adaptive", "display": "omitted"}),
    ]);
    let output = schema()
        .prop_map(|schema| json!({"effort": "high", "format": {"type": "json_schema", "schema": schema}}));
    let rest = (maybe(prop::collection::vec(text(), 1..3)), maybe(text()), cache(), any::<bool>());
    (messages, maybe(system), maybe((tools, maybe(choice))), maybe(thinking), maybe(output), rest).prop_map(
        |(messages, system, tools, thinking, output, (stop, user, cache, stream))| {
            let (tools, choice) =
                tools.map_or((None, None), |(tools, choice)| (Some(Value::from(tools)), choice));
            object(vec![
                ("model", Some(json!("m"))),
                ("max_tokens", Some(json!(8000))),
                ("messages", Some(Value::from(messages))),
                ("system", system),
                ("tools", tools),
                ("tool_choice", choice),
                ("thinking", thinking),
                ("output_config", output),
                ("stop_sequences", stop.map(Value::from)),
                ("metadata", user.map(|user| json!({"user_id": user}))),
                ("cache_control", cache),
                ("service_tier", Some(json!("auto"))),
                ("stream", stream.then_some(json!(true))),
            ])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_chat_says_is_lost_within_chat(body in chat_request()) {
        let out = request(Dialect::OpenAiChat, Dialect::OpenAiChat, body.to_string().as_bytes(), &options("m")).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&out.body).unwrap(), body);
        prop_assert!(out.warnings.is_empty(), "{:?}", out.warnings);
    }

    #[test]
    fn nothing_that_anthropic_says_is_lost_within_anthropic(body in anthropic_request()) {
        let out = request(Dialect::Anthropic, Dialect::Anthropic, body.to_string().as_bytes(), &options("m")).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&out.body).unwrap(), body);
        prop_assert!(out.warnings.is_empty(), "{:?}", out.warnings);
    }

    /// Whatever a client says becomes JSON, or an error that names a field.
    #[test]
    fn every_request_reaches_every_provider(body in prop_oneof![
        chat_request().prop_map(|body| (Dialect::OpenAiChat, body)),
        anthropic_request().prop_map(|body| (Dialect::Anthropic, body)),
    ]) {
        for to in PROVIDERS {
            match request(body.0, to, body.1.to_string().as_bytes(), &options("gemini-2.5-pro")) {
                Ok(out) => prop_assert!(serde_json::from_slice::<Value>(&out.body).unwrap().is_object()),
                Err(invalid) => prop_assert!(["input_audio", "image", "document"].contains(&invalid.field.as_str()), "{invalid}"),
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        everything(&bytes);
    }

    #[test]
    fn broken_documents_are_survived(bytes in mutated()) {
        everything(&bytes);
    }

    /// Also what is broken is the same however it is cut.
    #[test]
    fn cuts_change_nothing(bytes in mutated(), size in 1_usize..50) {
        for from in PROVIDERS {
            for to in CLIENTS {
                let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
                prop_assert_eq!(stream(from, to, &pieces), stream(from, to, &[&bytes]));
            }
        }
    }
}
