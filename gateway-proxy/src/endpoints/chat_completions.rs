//! `POST /v1/chat/completions`.

use super::known::known;
use super::{Endpoint, EventKind, chunk, done_style_error, openai_error, whole};
use crate::meter::{Answer, Text, finish, usage};
use crate::request::{Field, Kind};
use crate::sse::Event;
use bytes::Bytes;
use protocols::Dialect;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) static CHAT_COMPLETIONS: Endpoint = Endpoint {
    path: "/v1/chat/completions",
    upstream_path: "/chat/completions",
    operation: "chat",
    span_name: "POST /v1/chat/completions",
    prompt: "messages",
    instructions: None,
    format: Some("response_format"),
    fields: FIELDS,
    dialect: Some(Dialect::OpenAiChat),
    max_output: &["max_completion_tokens", "max_tokens"],
    has_background: false,
    usage_on_request: true,
    read_answer,
    read_event,
    error_body: openai_error,
    error_event: done_style_error,
};

const FIELDS: &[Field] = &[
    Field::required("model", &[Kind::String]),
    Field::required("messages", &[Kind::Array]),
    Field::optional("stream", &[Kind::Boolean]),
    Field::optional("stream_options", &[Kind::Object]),
    Field::optional("temperature", &[Kind::Number]),
    Field::optional("top_p", &[Kind::Number]),
    Field::optional("n", &[Kind::Integer]),
    Field::optional("max_tokens", &[Kind::Integer]),
    Field::optional("max_completion_tokens", &[Kind::Integer]),
    Field::optional("presence_penalty", &[Kind::Number]),
    Field::optional("frequency_penalty", &[Kind::Number]),
    Field::optional("logit_bias", &[Kind::Object]),
    Field::optional("logprobs", &[Kind::Boolean]),
    Field::optional("top_logprobs", &[Kind::Integer]),
    Field::optional("stop", &[Kind::String, Kind::Array]),
    Field::optional("seed", &[Kind::Integer]),
    Field::optional("user", &[Kind::String]),
    Field::optional("tools", &[Kind::Array]),
    Field::optional("tool_choice", &[Kind::String, Kind::Object]),
    Field::optional("parallel_tool_calls", &[Kind::Boolean]),
    Field::optional("response_format", &[Kind::Object]),
    Field::optional("service_tier", &[Kind::String]),
    Field::optional("reasoning_effort", &[Kind::String]),
    Field::optional("modalities", &[Kind::Array]),
    Field::optional("audio", &[Kind::Object]),
    Field::optional("prediction", &[Kind::Object]),
    Field::optional("metadata", &[Kind::Object]),
    Field::optional("store", &[Kind::Boolean]),
];

#[derive(Deserialize)]
struct Completion<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

fn read_answer(body: &Bytes) -> Option<Answer> {
    let completion: Completion<'_> = whole(body)?;
    let mut answer = Answer::named(completion.id, completion.model, completion.service_tier.as_ref());
    answer.usage = completion.usage.and_then(usage);
    for (index, choice) in completion.choices.into_iter().enumerate() {
        finish(&mut answer.finish_reasons, choice.finish_reason);
        answer.logprobs.learn(index, choice.logprobs);
        answer.output.push_raw(choice.message.map(|raw| body.slice_ref(raw.get().as_bytes())));
    }
    Some(answer)
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow, default)]
    choices: Option<Vec<ChunkChoice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    #[serde(default)]
    index: usize,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

known! {
    /// Reasoning is not OpenAI's, but what servers of open models send: under one name, the other, or both.
    struct Delta {
        "role" => role: Text<'a>,
        "content" => content: Text<'a>,
        "refusal" => refusal: Text<'a>,
        "reasoning_content" => reasoning_content: Text<'a>,
        "reasoning" => reasoning: Text<'a>,
        "tool_calls" => tool_calls: Vec<ToolCallDelta<'a>>,
    }
}

known! {
    struct ToolCallDelta {
        "index" => index: usize,
        "id" => id: Text<'a>,
        "type" => kind: Text<'a>,
        "function" => function: FunctionDelta<'a>,
    }
}

#[derive(Deserialize)]
struct FunctionDelta<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

fn read_event(answer: &mut Answer, event: &Event<'_>) -> EventKind {
    let chunk: Chunk<'_> = match chunk(event) {
        Ok(chunk) => chunk,
        Err(kind) => return kind,
    };
    if let Some(error) = chunk.error {
        answer.error = Some(error.get().to_owned());
        return EventKind::Error;
    }
    let used = chunk.usage.and_then(usage);
    answer.learn(chunk.id, chunk.model, chunk.service_tier.as_ref());
    let choices = chunk.choices.unwrap_or_default();
    if choices.is_empty() {
        answer.learn_usage(used, true);
        return if chunk.usage.is_some() { EventKind::UsageOnly } else { EventKind::Other };
    }
    let mut content = false;
    for choice in choices {
        answer.logprobs.learn(choice.index, choice.logprobs);
        let said = answer.output.choice(choice.index);
        let delta = choice.delta.unwrap_or_default();
        // What is put together has one name for thoughts, and reasons to finish in the order in which they came.
        answer.says_more |= delta.says_more
            || delta.reasoning.as_ref().is_some_and(|text| !text.0.is_empty())
            || (choice.finish_reason.as_ref().is_some_and(|reason| !reason.0.is_empty())
                && choice.index != answer.finish_reasons.len());
        for (into, text) in [
            (&mut said.content, delta.content),
            (&mut said.refusal, delta.refusal),
            (&mut said.reasoning, delta.reasoning_content.or(delta.reasoning)),
        ] {
            let text = text.unwrap_or_default().0;
            content |= !text.is_empty();
            answer.kept.push(into, &text);
        }
        for call in delta.tool_calls.unwrap_or_default() {
            content = true;
            answer.says_more |= call.says_more || call.kind.is_some_and(|kind| kind.0 != "function");
            let into = said.tool_call(call.index.unwrap_or_default());
            let kept = &mut answer.kept;
            kept.push(&mut into.id, &call.id.unwrap_or_default().0);
            if let Some(function) = call.function {
                kept.push(&mut into.name, &function.name.unwrap_or_default().0);
                kept.push(&mut into.arguments, &function.arguments.unwrap_or_default().0);
            }
        }
        answer.finish(choice.index, choice.finish_reason);
    }
    answer.learn_usage(used, false);
    if content { EventKind::Content } else { EventKind::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let body = Bytes::from_static(
            br#"{"id":"c1","object":"chat.completion","model":"m-1","service_tier":"flex","choices":[{"index":0,
            "message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":5}}}"#,
        );
        let answer = read_answer(&body).unwrap();
        assert_eq!(answer.id.as_deref(), Some("c1"));
        assert_eq!(answer.finish_reasons, ["stop"]);
        let usage = answer.usage.unwrap();
        assert_eq!((usage.input, usage.output, usage.cache_read), (9, 4, 5));
        assert_eq!(answer.output.to_json(), r#"[{"role":"assistant","content":"Hi"}]"#);
    }

    #[test]
    fn probabilities_of_the_first_choice_are_kept_whole_or_streamed() {
        let body = Bytes::from_static(
            br#"{"choices":[{"message":{},"logprobs":{"content":[{"token":"a","logprob":-0.5,"top_logprobs":[]},{"token":"b","logprob":-1.25}]}},
            {"message":{},"logprobs":{"content":[{"token":"z","logprob":-9}]}}]}"#,
        );
        assert_eq!(read_answer(&body).unwrap().logprobs.to_json().as_deref(), Some("[-0.5,-1.25]"));
        let mut answer = Answer::default();
        for data in [
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-0.5}],"refusal":null}}]}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"z"},"logprobs":{"content":[{"token":"z","logprob":-9}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"b"},"logprobs":{"content":[{"token":"b","logprob":-1.25}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
        ] {
            read_event(&mut answer, &Event::from_data(data));
        }
        assert_eq!(answer.logprobs.to_json().as_deref(), Some("[-0.5,-1.25]"));
        // A form that nobody knows costs neither the answer nor its usage.
        let odd = Bytes::from_static(
            br#"{"choices":[{"message":{"content":"Hi"},"logprobs":[1]}],"usage":{"prompt_tokens":9}}"#,
        );
        let answer = read_answer(&odd).unwrap();
        assert_eq!((answer.logprobs.to_json(), answer.usage.unwrap().input), (None, 9));
    }

    #[test]
    fn a_streamed_tool_call_is_put_together() {
        let mut answer = Answer::default();
        for data in [
            r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]}"#,
        ] {
            assert_eq!(read_event(&mut answer, &Event::from_data(data)), EventKind::Content);
        }
        let end = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(end)), EventKind::Other);
        let usage = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(usage)), EventKind::UsageOnly);
        assert_eq!(read_event(&mut answer, &Event::from_data("[DONE]")), EventKind::End);
        assert_eq!(
            answer.output.to_json(),
            r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}]"#
        );
        assert_eq!(answer.finish_reasons, ["tool_calls"]);
        assert_eq!(answer.usage.unwrap().output, 2);
    }

    #[test]
    fn what_is_no_chunk_is_malformed_and_an_error_is_an_error() {
        let mut answer = Answer::default();
        assert_eq!(read_event(&mut answer, &Event::from_data("<html>")), EventKind::Malformed);
        assert_eq!(read_event(&mut answer, &Event::from_data("{\"choices\":7}")), EventKind::Malformed);
        let error = r#"{"error":{"message":"overloaded"}}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(error)), EventKind::Error);
    }

    #[test]
    fn a_usage_that_cannot_be_read_rejects_neither_answer_nor_chunk() {
        let body = Bytes::from_static(
            br#"{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":-9}}"#,
        );
        assert_eq!(read_answer(&body).unwrap().usage, None);

        let mut answer = Answer::default();
        let both = r#"{"choices":[{"index":0,"delta":{"reasoning":"hm","reasoning_content":"hm"}}]}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(both)), EventKind::Content);
        assert_eq!(answer.output.choice(0).reasoning, "hm");
        let odd = r#"{"choices":[],"usage":{"prompt_tokens":"many"}}"#;
        assert_eq!(read_event(&mut answer, &Event::from_data(odd)), EventKind::UsageOnly);
        assert_eq!(answer.usage, None);
    }
}
