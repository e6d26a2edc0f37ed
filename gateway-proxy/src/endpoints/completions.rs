//! `POST /v1/completions`.

use super::{Endpoint, EventKind, chunk, done_style_error, openai_error, whole};
use crate::meter::{Answer, Text, usage};
use crate::request::{Field, Kind};
use crate::sse::Event;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) static COMPLETIONS: Endpoint = Endpoint {
    path: "/v1/completions",
    upstream_path: "/completions",
    operation: "text_completion",
    span_name: "POST /v1/completions",
    prompt: "prompt",
    instructions: None,
    format: None,
    fields: FIELDS,
    dialect: None,
    max_output: &["max_tokens"],
    has_background: false,
    usage_on_request: true,
    read_answer,
    read_event,
    error_body: openai_error,
    error_event: done_style_error,
};

const FIELDS: &[Field] = &[
    Field::required("model", &[Kind::String]),
    Field::required("prompt", &[Kind::String, Kind::Array]),
    Field::optional("stream", &[Kind::Boolean]),
    Field::optional("stream_options", &[Kind::Object]),
    Field::optional("max_tokens", &[Kind::Integer]),
    Field::optional("temperature", &[Kind::Number]),
    Field::optional("top_p", &[Kind::Number]),
    Field::optional("n", &[Kind::Integer]),
    Field::optional("best_of", &[Kind::Integer]),
    Field::optional("echo", &[Kind::Boolean]),
    Field::optional("logprobs", &[Kind::Integer]),
    Field::optional("logit_bias", &[Kind::Object]),
    Field::optional("presence_penalty", &[Kind::Number]),
    Field::optional("frequency_penalty", &[Kind::Number]),
    Field::optional("seed", &[Kind::Integer]),
    Field::optional("stop", &[Kind::String, Kind::Array]),
    Field::optional("suffix", &[Kind::String]),
    Field::optional("user", &[Kind::String]),
];

/// A whole answer and a chunk of a stream have the same shape.
#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: usize,
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

fn read_answer(body: &Bytes) -> Option<Answer> {
    let completion: Completion<'_> = whole(body)?;
    completion.choices.as_ref()?;
    let mut answer = Answer::default();
    take(&mut answer, completion);
    Some(answer)
}

fn read_event(answer: &mut Answer, event: &Event<'_>) -> EventKind {
    let chunk: Completion<'_> = match chunk(event) {
        Ok(chunk) => chunk,
        Err(kind) => return kind,
    };
    if let Some(error) = chunk.error {
        answer.error = Some(error.get().to_owned());
        return EventKind::Error;
    }
    take(answer, chunk)
}

fn take(answer: &mut Answer, completion: Completion<'_>) -> EventKind {
    answer.learn(completion.id, completion.model, completion.service_tier.as_ref());
    let used = completion.usage.and_then(usage);
    let choices = completion.choices.unwrap_or_default();
    if choices.is_empty() {
        answer.learn_usage(used, true);
        return if completion.usage.is_some() { EventKind::UsageOnly } else { EventKind::Other };
    }
    let mut kind = EventKind::Other;
    for choice in choices {
        if !choice.text.0.is_empty() {
            kind = EventKind::Content;
        }
        answer.logprobs.learn(choice.index, choice.logprobs);
        answer.kept.push(&mut answer.output.choice(choice.index).content, &choice.text.0);
        answer.finish(choice.index, choice.finish_reason);
    }
    answer.learn_usage(used, false);
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_streamed_answers_are_read() {
        let body = Bytes::from_static(
            br#"{"id":"x","choices":[{"text":"ab","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
        );
        let answer = read_answer(&body).unwrap();
        assert_eq!((answer.usage.unwrap().input, answer.finish_reasons[0].as_str()), (3, "length"));

        let mut streamed = Answer::default();
        let chunk = Event::from_data(r#"{"choices":[{"text":"a","index":0,"finish_reason":null}]}"#);
        assert_eq!(read_event(&mut streamed, &chunk), EventKind::Content);
        assert_eq!(streamed.output.to_json(), r#"[{"role":"assistant","content":"a"}]"#);
        assert!(read_answer(&Bytes::from_static(b"{\"ok\":true}")).is_none());
    }
}
