//! Context that a client says it gave to the model, so that an answer can be held against it.
//!
//! `control_tower.context`, as a member of that name or as `context` within an object `control_tower`, is a list of `{id, text, score,
//! source}`; it is for us alone and does not go on to the upstream. `documents`, as some servers take them, does, and is read as far
//! as it is understood.

use super::fields::{kind_of, missing, wrong_type};
use super::json::{Member, members};
use super::parse::{BodyError, place_in};
use contracts::ApiError;
use serde::Serialize;
use serde_json::{Map, Value};
use std::ops::Range;

/// Most passages.
const MOST: usize = 256;
/// Most characters of an id or a source.
const SHORT: usize = 512;

/// One passage of context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Passage {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) text: String,
}

/// What a body says of context.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Context {
    pub(crate) passages: Vec<Passage>,
    /// Where its passages stand: ours, and `documents`, understood or not.
    pub(crate) given_at: [Option<Range<usize>>; 2],
    /// What the upstream does not get to see of the body.
    pub(super) strip: Option<Range<usize>>,
}

const NAMESPACE: &str = "control_tower";
const FIELD: &str = "control_tower.context";

/// Reads the context from the members of `text`.
pub(super) fn read(text: &str, all: &[Member<'_>]) -> Result<Context, BodyError> {
    let mut context = Context::default();
    let mut ours = all.iter().enumerate().filter(|(_, m)| matches!(m.name.as_ref(), NAMESPACE | FIELD));
    if let Some((at, member)) = ours.next() {
        if ours.next().is_some() {
            let message = "control_tower.context: there are control_tower and control_tower.context: expected one of them";
            return Err(ApiError::invalid(FIELD, message).into());
        }
        context.strip = Some(place(text, all, at));
        let given = if member.name == FIELD { Some(member.text()) } else { within(member)? };
        if let Some(given) = given.filter(|given| *given != "null") {
            context.passages = passages(given)?;
            context.given_at[0] = Some(place_in(text, given));
        }
    }
    if let Some(documents) = all.iter().find(|m| m.name == "documents") {
        context.given_at[1] = Some(place_in(text, documents.text()));
        if let Ok(Value::Array(items)) = serde_json::from_str(documents.text()) {
            let understood = items.into_iter().enumerate().filter_map(|(at, item)| document(at, item));
            context.passages.extend(understood.take(MOST));
        }
    }
    Ok(context)
}

/// The member at index `at` with the comma that goes with it. `model` is always there too, so it is never alone.
pub(super) fn place(text: &str, all: &[Member<'_>], at: usize) -> Range<usize> {
    let end =
        |member: &Member<'_>| member.text().as_ptr() as usize - text.as_ptr() as usize + member.text().len();
    let to = end(&all[at]);
    if let Some(before) = at.checked_sub(1) {
        return end(&all[before])..to;
    }
    let from = text.find('{').map_or(0, |brace| brace + 1);
    from..text[to..].find(',').map_or(to, |comma| to + comma + 1)
}

/// `context` of the object `control_tower`, which has nothing else.
fn within<'a>(member: &Member<'a>) -> Result<Option<&'a str>, BodyError> {
    let text = member.text();
    if text == "null" {
        return Ok(None);
    }
    if !text.starts_with('{') {
        let message = format!("control_tower: {} is not valid here: expected object", kind_of(text));
        return Err(wrong_type(NAMESPACE, message).into());
    }
    let mut context = None;
    for inner in members(text).map_err(BodyError::NotJson)? {
        if inner.name != "context" {
            let name: String = format!("control_tower.{}", inner.name).chars().take(SHORT).collect();
            return Err(
                ApiError::invalid(name.clone(), format!("{name}: no such field: expected context")).into()
            );
        }
        context = Some(inner.text());
    }
    Ok(context)
}

fn passages(text: &str) -> Result<Vec<Passage>, BodyError> {
    let items = match serde_json::from_str(text).map_err(BodyError::NotJson)? {
        Value::Array(items) if items.len() <= MOST => items,
        Value::Array(items) => {
            let message = format!("{FIELD}: {} passages are too many: expected at most {MOST}", items.len());
            return Err(ApiError::invalid(FIELD, message).into());
        }
        _ => {
            let message = format!("{FIELD}: {} is not valid here: expected array", kind_of(text));
            return Err(wrong_type(FIELD, message).into());
        }
    };
    let passages = items.into_iter().enumerate().map(|(at, item)| passage(at, item));
    Ok(passages.collect::<Result<_, ApiError>>()?)
}

fn passage(at: usize, item: Value) -> Result<Passage, ApiError> {
    let place = format!("{FIELD}[{at}]");
    let Value::Object(mut item) = item else {
        let kind = kind_of(&item.to_string());
        return Err(wrong_type(&place, format!("{place}: {kind} is not valid here: expected object")));
    };
    let text = match item.remove("text") {
        Some(Value::String(text)) if !text.is_empty() => text,
        None | Some(Value::Null) => return Err(missing(&format!("{place}.text"), "the passage's text")),
        Some(other) => return Err(not_text(&format!("{place}.text"), &other)),
    };
    let mut short = |field: &str| match item.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) if value.chars().count() <= SHORT => Ok(Some(value)),
        Some(other) => Err(not_text(&format!("{place}.{field}"), &other)),
    };
    let (id, source) = (short("id")?, short("source")?);
    let score = match item.remove("score") {
        None | Some(Value::Null) => None,
        Some(Value::Number(score)) => score.as_f64(),
        Some(other) => {
            let (name, kind) = (format!("{place}.score"), kind_of(&other.to_string()));
            return Err(wrong_type(&name, format!("{name}: {kind} is not valid here: expected number")));
        }
    };
    if let Some(other) = item.keys().next() {
        let name: String = format!("{place}.{other}").chars().take(SHORT).collect();
        let message = format!("{name}: no such field: expected id, text, score and source");
        return Err(ApiError::invalid(name, message));
    }
    Ok(Passage { id: id.unwrap_or_else(|| at.to_string()), score, source: source.unwrap_or_default(), text })
}

fn not_text(name: &str, value: &Value) -> ApiError {
    let expected = format!("a non-empty string, of ids and sources at most {SHORT} characters");
    wrong_type(
        name,
        format!("{name}: {} is not valid here: expected {expected}", kind_of(&value.to_string())),
    )
}

/// An item of `documents`: a text, or an object that has one in one of the places where servers look for it.
fn document(at: usize, item: Value) -> Option<Passage> {
    let mut item = match item {
        Value::String(text) => Map::from_iter([("text".to_owned(), Value::String(text))]),
        Value::Object(item) => item,
        _ => return None,
    };
    if let Some(Value::Object(data)) = item.remove("data") {
        item.extend(data);
    }
    let first = |names: &[&str]| {
        names.iter().find_map(|name| match item.get(*name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        })
    };
    let text = first(&["text", "content", "contents", "snippet"])?;
    let cut = |text: String| text.chars().take(SHORT).collect();
    let id = first(&["id", "doc_id", "document_id"]).map_or_else(|| at.to_string(), cut);
    let source = first(&["source", "url", "title"]).map_or_else(String::new, cut);
    let score = item.get("score").and_then(Value::as_f64);
    Some(Passage { id, score, source, text })
}

/// The passages as JSON, the texts together at most `limit` bytes long, and how many bytes were cut off. Without texts, ids and
/// scores alone.
pub(crate) fn to_json(passages: &[Passage], limit: Option<usize>) -> (String, usize) {
    let (mut left, mut cut) = (limit.unwrap_or(0), 0);
    let mut kept = Vec::with_capacity(passages.len());
    for passage in passages {
        let mut passage = passage.clone();
        if limit.is_none() {
            passage.text.clear();
            passage.source.clear();
        } else {
            let end = passage.text.floor_char_boundary(left);
            cut += passage.text.len() - end;
            passage.text.truncate(end);
            left -= end;
        }
        kept.push(passage);
    }
    // Texts and numbers always serialise; the fallback keeps this function total.
    (serde_json::to_string(&kept).unwrap_or_default(), cut)
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::super::splice::{More, outgoing_body};
    use super::*;
    use crate::endpoints::CHAT_COMPLETIONS;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    fn asked(body: &str) -> Result<(Vec<Passage>, Value), BodyError> {
        let ask = parse(&CHAT_COMPLETIONS, Bytes::copy_from_slice(body.as_bytes()), 64)?;
        let sent = serde_json::from_slice(&outgoing_body(&ask, "b", More::default())).unwrap();
        Ok((ask.context.passages.clone(), sent))
    }

    const REST: &str = r#""model":"a","messages":[{"role":"user","content":"Hi"}]"#;

    #[test]
    fn context_is_taken_out_wherever_it_stands() {
        let context = r#"[{"id":"d1","text":"Paris","score":0.5,"source":"wiki"},{"text":"Rome"}]"#;
        for body in [
            format!("{{\"control_tower\":{{\"context\":{context}}} , {REST}}}"),
            format!("{{{REST}, \"control_tower.context\" : {context}}}"),
            format!("{{\"n\":1, \"control_tower\":{{\"context\":{context}}},{REST}}}"),
            format!("{{ \"control_tower.context\":{context},{REST} , \"n\" : 1}}"),
        ] {
            let (passages, sent) = asked(&body).unwrap();
            let ids: Vec<_> = passages.iter().map(|p| (p.id.as_str(), p.text.as_str(), p.score)).collect();
            assert_eq!(ids, [("d1", "Paris", Some(0.5)), ("1", "Rome", None)], "{body}");
            let mut expected: Value = serde_json::from_str(&format!("{{{REST}}}")).unwrap();
            expected["model"] = json!("b");
            if body.contains("\"n\"") {
                expected["n"] = json!(1);
            }
            assert_eq!(sent, expected, "{body}");
        }
    }

    #[test]
    fn documents_are_read_and_passed_on() {
        let documents = json!(["one", {"doc_id": "d2", "title": "T", "contents": "two"}, {"id": "d3", "data": {"text": "three"}}, 7]);
        let (passages, sent) = asked(&format!("{{{REST},\"documents\":{documents}}}")).unwrap();
        let seen: Vec<_> =
            passages.iter().map(|p| (p.id.as_str(), p.text.as_str(), p.source.as_str())).collect();
        assert_eq!(seen, [("0", "one", ""), ("d2", "two", "T"), ("d3", "three", "")]);
        assert_eq!(sent["documents"], documents);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (context, name) in [
            (r#""control_tower":7"#, "control_tower: number"),
            (r#""control_tower":{"contxt":[]}"#, "control_tower.contxt: no such field"),
            (r#""control_tower.context":{}"#, "control_tower.context: object"),
            (r#""control_tower.context":["x"]"#, "control_tower.context[0]: string"),
            (r#""control_tower.context":[{"id":"a"}]"#, "control_tower.context[0].text: required"),
            (r#""control_tower.context":[{"text":""}]"#, "control_tower.context[0].text: string"),
            (
                r#""control_tower.context":[{"text":"t","score":"1"}]"#,
                "control_tower.context[0].score: string",
            ),
            (
                r#""control_tower.context":[{"text":"t","url":"1"}]"#,
                "control_tower.context[0].url: no such field",
            ),
            (r#""control_tower":{},"control_tower.context":[]"#, "expected one of them"),
        ] {
            let error = asked(&format!("{{{REST},{context}}}")).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(asked(&format!("{{{REST},\"control_tower\":null}}")).unwrap().0.is_empty());
    }

    #[test]
    fn texts_are_cut_and_stay_json() {
        let passage =
            |text: &str| Passage { id: "1".into(), score: None, source: String::new(), text: text.into() };
        let (json, cut) = to_json(&[passage("héé"), passage("abc")], Some(4));
        assert_eq!((json.as_str(), cut), (r#"[{"id":"1","text":"hé"},{"id":"1","text":"a"}]"#, 4));
        let (json, cut) = to_json(&[Passage { score: Some(0.5), ..passage("secret") }], None);
        assert_eq!((json.as_str(), cut), (r#"[{"id":"1","score":0.5}]"#, 0));
    }

    proptest! {
        #[test]
        fn what_goes_on_is_the_same_but_for_our_field(
            before in prop::collection::btree_map("x_[a-z\"\\\\é,{}]{0,6}", ".{0,8}", 0..4),
            after in prop::collection::btree_map("y_[a-z\"\\\\é,{}]{0,6}", ".{0,8}", 0..4),
            text in ".{1,20}",
            pretty in any::<bool>(),
        ) {
            let member = |(name, value): (&String, &String)| format!("{}:{}", json!(name), json!(value));
            let ours = format!("\"control_tower\":{}", json!({"context": [{"text": text}]}));
            let parts: Vec<String> = before.iter().map(member).chain([ours, REST.to_owned()]).chain(after.iter().map(member)).collect();
            let body = format!("{{{}}}", parts.join(if pretty { " ,\n " } else { "," }));
            let mut expected: Value = serde_json::from_str(&body).unwrap();
            expected.as_object_mut().unwrap().remove("control_tower");
            expected["model"] = json!("b");
            let (passages, sent) = asked(&body).unwrap();
            prop_assert_eq!(sent, expected);
            prop_assert_eq!(&passages[0].text, &text);
        }
    }
}
