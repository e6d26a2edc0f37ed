//! Rows from production: what was asked and what was answered, in the words of the trace, and what people said of it.

use super::{Message, Passage, Row};
use control::records::Annotation;
use serde_json::Value;
use std::collections::BTreeMap;
use warehouse::DatasetCall;

/// A row of one call; none where the call's messages were not kept. With `answer_is_expected` the answer that was given becomes the
/// reference. The row's id is the call's trace and span.
pub fn from_call(call: &DatasetCall, answer_is_expected: bool) -> Option<Row> {
    let mut messages = Vec::new();
    let system = joined(
        &serde_json::from_str(&call.system_instructions)
            .unwrap_or(Value::String(call.system_instructions.clone())),
    );
    if !system.is_empty() {
        messages.push(Message { role: "system".into(), content: system });
    }
    let input: Vec<Value> = serde_json::from_str(&call.input_messages).ok()?;
    messages.extend(input.iter().filter_map(message));
    if !messages.iter().any(|m| m.role == "user") {
        return None;
    }
    let output: Vec<Value> = serde_json::from_str(&call.output_messages).unwrap_or_default();
    let answer = output.first().map(joined).filter(|text| !text.is_empty());
    let slices =
        [("route", &call.route), ("model", &call.response_model), ("prompt_version", &call.prompt_version)];
    Some(Row {
        id: format!("{}-{}", call.trace_id, call.span_id),
        messages,
        context: passages(&call.context),
        expected: answer.filter(|_| answer_is_expected),
        slices: slices
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect(),
        params: BTreeMap::new(),
    })
}

/// A row of a call that somebody labelled; none without a label, and where nothing is left of what was asked. `call` is what is recorded of
/// it. Where that is gone, question and context are those that were kept for whoever labelled it. The label becomes the slice `label`, and
/// the answer that was given the reference, if it passed.
pub fn from_annotation(annotation: &Annotation, call: Option<&DatasetCall>) -> Option<Row> {
    let label = annotation.label.as_ref()?;
    let kept =
        |name: &str| annotation.subject.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let of_question = || {
        let question = kept("question")?;
        Some(Row {
            id: format!("{}-{}", annotation.trace_id, annotation.span_id),
            messages: vec![Message { role: "user".into(), content: question.to_owned() }],
            context: Vec::new(),
            expected: None,
            slices: BTreeMap::new(),
            params: BTreeMap::new(),
        })
    };
    let mut row = call.and_then(|call| from_call(call, false)).or_else(of_question)?;
    if row.context.is_empty() {
        // Documents of retrievals and results of tools are not in the request.
        row.context = passages_of(annotation.subject.get("context").and_then(Value::as_array));
    }
    row.expected = kept("answer").filter(|_| label.label == "pass").map(str::to_owned);
    row.slices.insert("label".to_owned(), label.label.clone());
    Some(row)
}

fn message(value: &Value) -> Option<Message> {
    let role = value.get("role")?.as_str()?.to_owned();
    let content = joined(value);
    (!content.is_empty()).then_some(Message { role, content })
}

/// The texts of a message in whichever shape: `parts` of the semantic conventions, `content` as text or as a list.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(joined).filter(|text| !text.is_empty()).collect();
            texts.join("\n")
        }
        Value::Object(map) => {
            let inner = ["parts", "content", "text"].iter().find_map(|name| map.get(*name));
            inner.map(joined).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn passages(context: &str) -> Vec<Passage> {
    passages_of(serde_json::from_str(context).ok().as_ref())
}

fn passages_of(items: Option<&Vec<Value>>) -> Vec<Passage> {
    let numbered = items.into_iter().flatten().enumerate();
    numbered
        .filter_map(|(index, item)| {
            let text = joined(item);
            let id =
                item.get("id").and_then(Value::as_str).map_or_else(|| (index + 1).to_string(), str::to_owned);
            (!text.is_empty()).then_some(Passage { id, text })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Timestamp;
    use control::records::HumanLabel;
    use serde_json::json;

    fn labelled(label: &str, subject: Value) -> Annotation {
        let label = HumanLabel {
            label: label.to_owned(),
            score: None,
            comment: String::new(),
            annotator: "ann".to_owned(),
            at: Timestamp::default(),
        };
        Annotation {
            id: "ann_1".to_owned(),
            tenant: "acme".parse().unwrap(),
            queue: "default".to_owned(),
            trace_id: "t".to_owned(),
            span_id: "s".to_owned(),
            subject,
            verdicts: json!([]),
            created_at: Timestamp::default(),
            label: Some(label),
            skipped_at: None,
        }
    }

    #[test]
    fn a_label_outlives_its_call() {
        let subject = json!({"question": "Capital of Italy?", "context": [{"id": "d1", "text": "Rome."}], "answer": "Rome"});
        let passed = from_annotation(&labelled("pass", subject.clone()), None).unwrap();
        assert_eq!((passed.id.as_str(), passed.messages[0].content.as_str()), ("t-s", "Capital of Italy?"));
        assert_eq!((passed.expected.as_deref(), passed.slices["label"].as_str()), (Some("Rome"), "pass"));
        assert_eq!(passed.context, [Passage { id: "d1".to_owned(), text: "Rome.".to_owned() }]);
        let failed = from_annotation(&labelled("fail", subject), None).unwrap();
        assert_eq!((failed.expected, failed.slices["label"].as_str()), (None, "fail"));
        assert_eq!(from_annotation(&labelled("pass", json!({})), None), None, "nothing is left of it");
    }

    #[test]
    fn what_is_recorded_comes_before_what_was_kept() {
        let call = DatasetCall {
            trace_id: "t".to_owned(),
            span_id: "s".to_owned(),
            route: "support".to_owned(),
            input_messages:
                json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Capital of Italy?"}])
                .to_string(),
            ..DatasetCall::default()
        };
        let subject = json!({"question": "Capital of Italy?", "context": [{"id": "c1", "text": "A tool said so."}], "answer": "Rome"});
        let annotation = labelled("unclear", subject);
        let row = from_annotation(&annotation, Some(&call)).unwrap();
        assert_eq!((row.messages.len(), row.expected), (3, None));
        assert_eq!((row.slices["route"].as_str(), row.slices["label"].as_str()), ("support", "unclear"));
        // What tools and retrievals brought is not in the request, and was kept.
        assert_eq!(row.context[0].id, "c1");
        assert_eq!(from_annotation(&Annotation { label: None, ..annotation }, Some(&call)), None);
    }
}
