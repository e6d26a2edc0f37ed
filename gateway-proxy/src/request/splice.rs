//! The body that goes to the upstream: the client's bytes, but for the model's name, the request for usage, and what is for us alone.

use super::context::place;
use super::json::members;
use super::parse::{Ask, AskedUsage};
use bytes::Bytes;
use std::ops::Range;

/// What is asked for that the client did not ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct More<'a> {
    /// `stream_options.include_usage`, where the provider is asked for it.
    pub(crate) usage: bool,
    /// A field that does not say it yet, and the most tokens of the answer.
    pub(crate) cap: Option<(&'a str, u64)>,
    /// The probabilities of tokens.
    pub(crate) logprobs: bool,
    /// The same once more.
    pub(crate) sample: Option<Sample>,
}

/// The same answer once more, which shall come out differently where the model is not sure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Its number, from 1: a seed that the client gave is moved on by so much, for with the same one an answer would be the same.
    pub(crate) number: u32,
    /// What it is asked at; absent: as the client says.
    pub(crate) temperature: Option<f64>,
    /// So many at once, where the protocol has them.
    pub(crate) choices: u32,
}

/// The client's body with `upstream_model` as its model and what is asked for besides. Every other byte is the client's. When nothing
/// differs the body is shared, not copied.
pub(crate) fn outgoing_body(ask: &Ask, upstream_model: &str, more: More<'_>) -> Bytes {
    let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(3);
    if ask.model != upstream_model {
        // A text always serialises; the fallback keeps this function total.
        let quoted = serde_json::to_string(upstream_model).unwrap_or_else(|_| "\"\"".into());
        edits.push((ask.model_at.clone(), quoted));
    }
    if let Some((field, tokens)) = more.cap {
        edits.push(match ask.bound(field) {
            // A member of that name again would be read by some and not by others.
            Some(bound) => (bound.at.clone(), tokens.to_string()),
            None => (ask.model_at.end..ask.model_at.end, format!(",\"{field}\":{tokens}")),
        });
    }
    if more.logprobs {
        let after = ask.model_at.end;
        edits.push((after..after, ",\"logprobs\":true".into()));
    }
    if let Some(sample) = more.sample {
        edits.extend(sample_edits(ask, sample));
    }
    if let Some(ours) = &ask.context.strip {
        edits.push((ours.clone(), String::new()));
    }
    // The upstream makes the answer at once, as a stream; the background is here.
    if let Some(background) = &ask.background_at {
        edits.push((background.clone(), "false".into()));
        if !ask.stream {
            let after = ask.model_at.end;
            edits.push(match &ask.stream_at {
                Some(stream) => (stream.clone(), "true".into()),
                None => (after..after, ",\"stream\":true".into()),
            });
        }
    }
    if more.usage
        && let Some(edit) = usage_edit(ask)
    {
        edits.push(edit);
    }
    if edits.is_empty() {
        return ask.body.clone();
    }
    edits.sort_by_key(|(at, _)| at.start);
    let mut out = Vec::with_capacity(ask.body.len() + 64 + upstream_model.len());
    let mut from = 0;
    for (at, text) in edits {
        out.extend_from_slice(&ask.body[from..at.start]);
        out.extend_from_slice(text.as_bytes());
        from = at.end;
    }
    out.extend_from_slice(&ask.body[from..]);
    out.into()
}

/// A body without its `stream_options`, for a provider that takes none.
pub(crate) fn without_stream_options(body: &Bytes) -> Bytes {
    let gone = || {
        let text = std::str::from_utf8(body).ok()?;
        let all = members(text).ok()?;
        let at = all.iter().position(|member| member.name == "stream_options")?;
        let at = place(text, &all, at);
        Some([&body[..at.start], &body[at.end..]].concat())
    };
    gone().map_or_else(|| body.clone(), Bytes::from)
}

fn sample_edits(ask: &Ask, sample: Sample) -> impl Iterator<Item = (Range<usize>, String)> {
    let put = |name: &str, at: &Option<Range<usize>>, value: String| match at {
        Some(at) => (at.clone(), value),
        // The model is always there, so a member can follow it.
        None => (ask.model_at.end..ask.model_at.end, format!(",\"{name}\":{value}")),
    };
    let temperature =
        sample.temperature.map(|value| put("temperature", &ask.temperature_at, value.to_string()));
    let choices = (sample.choices > 1).then(|| put("n", &ask.n_at, sample.choices.to_string()));
    let seed = ask.seed_at.as_ref().and_then(|at| {
        let seed: i64 = ask.text(Some(at))?.parse().ok()?;
        Some((at.clone(), seed.wrapping_add(sample.number.into()).to_string()))
    });
    [temperature, choices, seed].into_iter().flatten()
}

fn usage_edit(ask: &Ask) -> Option<(Range<usize>, String)> {
    match &ask.usage {
        AskedUsage::Yes => None,
        // The model is always there, so a member can follow it.
        AskedUsage::NoOptions => {
            let after = ask.model_at.end;
            Some((after..after, ",\"stream_options\":{\"include_usage\":true}".into()))
        }
        AskedUsage::NullOptions(at) => Some((at.clone(), "{\"include_usage\":true}".into())),
        AskedUsage::NotInOptions(at, others) => {
            let inside = at.start + 1;
            let comma = if *others { "," } else { "" };
            Some((inside..inside, format!("\"include_usage\":true{comma}")))
        }
        AskedUsage::No(at) => Some((at.clone(), "true".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;
    use crate::endpoints::CHAT_COMPLETIONS;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn splice(body: &str, model: &str, ask_usage: bool) -> String {
        let ask = parse(&CHAT_COMPLETIONS, Bytes::copy_from_slice(body.as_bytes()), 64).unwrap();
        String::from_utf8(outgoing_body(&ask, model, More { usage: ask_usage, ..More::default() }).to_vec())
            .unwrap()
    }

    #[test]
    fn stream_options_go_wherever_they_stand() {
        for body in [
            r#"{"stream_options":{"include_usage":true}, "model":"m","n":1}"#,
            r#"{"model":"m" , "stream_options" : null,"n":1}"#,
            r#"{"model":"m","n":1,"stream\u005foptions":{}}"#,
            r#"{"model":"m","n":1}"#,
        ] {
            let left = without_stream_options(&Bytes::from_static(body.as_bytes()));
            let left: Value = serde_json::from_slice(&left).unwrap();
            assert_eq!(left, json!({"model": "m", "n": 1}), "{body}");
        }
    }

    #[test]
    fn only_the_model_and_the_request_for_usage_change() {
        let m = r#""messages":[{"role":"user","content":"h\u00e9 \"model\": 1"}]"#;
        for (body, expected) in [
            (
                format!("{{ \"model\" : \"a\",  {m}}}"),
                format!("{{ \"model\" : \"b\",\"stream_options\":{{\"include_usage\":true}},  {m}}}"),
            ),
            (
                format!("{{{m},\"stream_options\":null,\"model\":\"a\"}}"),
                format!("{{{m},\"stream_options\":{{\"include_usage\":true}},\"model\":\"b\"}}"),
            ),
            (
                format!("{{{m},\"model\":\"a\",\"stream_options\":{{ }}}}"),
                format!("{{{m},\"model\":\"b\",\"stream_options\":{{\"include_usage\":true }}}}"),
            ),
            (
                format!("{{{m},\"model\":\"a\",\"stream_options\":{{\"x\":1}}}}"),
                format!("{{{m},\"model\":\"b\",\"stream_options\":{{\"include_usage\":true,\"x\":1}}}}"),
            ),
            (
                format!("{{{m},\"model\":\"a\",\"stream_options\":{{\"include_usage\": false}}}}"),
                format!("{{{m},\"model\":\"b\",\"stream_options\":{{\"include_usage\": true}}}}"),
            ),
            (
                format!("{{{m},\"model\":\"a\",\"stream_options\":{{\"include_usage\":null}}}}"),
                format!("{{{m},\"model\":\"b\",\"stream_options\":{{\"include_usage\":true}}}}"),
            ),
            (
                format!("{{{m},\"model\":\"a\",\"stream_options\":{{\"include_usage\":true}}}}"),
                format!("{{{m},\"model\":\"b\",\"stream_options\":{{\"include_usage\":true}}}}"),
            ),
        ] {
            assert_eq!(splice(&body, "b", true), expected);
        }
    }

    #[test]
    fn a_sample_is_the_same_request_with_a_seed_and_a_temperature_of_its_own() {
        let sample = |body: &str, choices| {
            let ask = parse(&CHAT_COMPLETIONS, Bytes::copy_from_slice(body.as_bytes()), 64).unwrap();
            let sample = Some(Sample { number: 2, temperature: Some(0.7), choices });
            let body = outgoing_body(&ask, "a", More { sample, ..More::default() });
            serde_json::from_slice::<Value>(&body).unwrap()
        };
        let messages = json!([{"role": "user", "content": "hi"}]);
        let bare = json!({"model": "a", "messages": messages});
        let expected = json!({"model": "a", "temperature": 0.7, "messages": messages});
        assert_eq!(sample(&bare.to_string(), 1), expected);
        let full = json!({"model": "a", "messages": messages, "temperature": null, "seed": 40, "n": 1});
        let expected = json!({"model": "a", "messages": messages, "temperature": 0.7, "seed": 42, "n": 3});
        assert_eq!(sample(&full.to_string(), 3), expected);
    }

    #[test]
    fn the_most_tokens_are_said_once() {
        for (said, expected) in [
            ("", r#"{"model":"a","max_tokens":7,"messages":[]}"#),
            (r#","max_tokens": null"#, r#"{"model":"a","messages":[],"max_tokens": 7}"#),
            (r#","max_tokens":null,"n":2"#, r#"{"model":"a","messages":[],"max_tokens":7,"n":2}"#),
            (
                r#","max_completion_tokens":7"#,
                r#"{"model":"a","max_tokens":7,"messages":[],"max_completion_tokens":7}"#,
            ),
        ] {
            let body = format!(r#"{{"model":"a","messages":[{{"role":"user"}}]{said}}}"#);
            let ask = parse(&CHAT_COMPLETIONS, Bytes::from(body), 64).unwrap();
            let more = More { cap: Some(("max_tokens", 7)), ..More::default() };
            let sent = String::from_utf8(outgoing_body(&ask, "a", more).to_vec()).unwrap();
            assert_eq!(sent.replace(r#"{"role":"user"}"#, ""), expected);
        }
    }

    #[test]
    fn a_body_that_needs_no_change_is_shared() {
        let body = Bytes::from_static(br#"{"model":"a","messages":[{"role":"user"}]}"#);
        let ask = parse(&CHAT_COMPLETIONS, body.clone(), 64).unwrap();
        assert_eq!(outgoing_body(&ask, "a", More::default()).as_ptr(), body.as_ptr());
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z\"\\\\é]{0,6}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_result_is_the_same_json_but_for_model_and_usage(
            extra in prop::collection::hash_map("x_[a-z\"\\\\é]{0,6}", json_value(), 0..5),
            options in prop_oneof![
                Just(None),
                Just(Some(Value::Null)),
                Just(Some(json!({}))),
                Just(Some(json!({"include_usage": false, "y": [1]}))),
                Just(Some(json!({"y": {"include_usage": 3}}))),
                Just(Some(json!({"include_usage": true}))),
            ],
            model in ".{1,20}",
            pretty in any::<bool>(),
            ask_usage in any::<bool>(),
        ) {
            let mut body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}], "stream": true});
            let object = body.as_object_mut().unwrap();
            object.extend(extra);
            if let Some(options) = options {
                object.insert("stream_options".into(), options);
            }
            let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            let got: Value = serde_json::from_str(&splice(&text, &model, ask_usage)).unwrap();

            let mut expected = body.clone();
            expected["model"] = Value::from(model);
            if ask_usage {
                if !expected["stream_options"].is_object() {
                    expected["stream_options"] = json!({});
                }
                expected["stream_options"]["include_usage"] = Value::from(true);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
