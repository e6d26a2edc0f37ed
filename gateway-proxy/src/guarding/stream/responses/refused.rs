//! The end of a response that may not go on: what was begun is closed, and an item that refuses takes the place of the rest.

use super::{KINDS, Responses};
use crate::guarding::refusal;
use crate::guarding::stream::{Ending, Out};
use serde_json::{Value, json};

impl Responses {
    /// Ends the response with a refusal.
    pub(super) fn refused(&mut self, text: &str, ending: &Ending<'_>, out: &mut Out<'_>) {
        let mut response = self.base.take();
        if self.is_silent {
            self.next = Some(0);
            let mut begun = response.clone();
            (begun["status"], begun["output"], begun["usage"]) =
                ("in_progress".into(), json!([]), Value::Null);
            for name in ["response.created", "response.in_progress"] {
                self.send(json!({"type": name, "response": begun}), None, out);
            }
        }
        self.close(out);
        let item = refusal::item(ending.id, text);
        let (id, at) = (item["id"].clone(), self.next_item);
        let mut empty = item.clone();
        (empty["content"], empty["status"]) = (json!([]), "in_progress".into());
        let part = item["content"][0].clone();
        let place = json!({"item_id": id, "output_index": at, "content_index": 0});
        let with = |name: &str, field: &str, value: Value| {
            let mut event = place.clone();
            (event["type"], event[field]) = (name.into(), value);
            event
        };
        for event in [
            json!({"type": "response.output_item.added", "output_index": at, "item": empty}),
            with("response.content_part.added", "part", json!({"type": "refusal", "refusal": ""})),
            with("response.refusal.delta", "delta", text.into()),
            with("response.refusal.done", "refusal", text.into()),
            with("response.content_part.done", "part", part),
            json!({"type": "response.output_item.done", "output_index": at, "item": item}),
        ] {
            self.send(event, None, out);
        }
        self.done.push(item);
        response["output"] = std::mem::take(&mut self.done).into();
        response["status"] = "incomplete".into();
        response["incomplete_details"] = json!({"reason": "content_filter"});
        if response["usage"].is_null()
            && let Some(usage) = ending.usage
        {
            response["usage"] = json!({"input_tokens": usage.input, "output_tokens": usage.output,
                "input_tokens_details": {"cached_tokens": usage.cache_read},
                "output_tokens_details": {"reasoning_tokens": usage.reasoning}, "total_tokens": usage.total()});
        }
        self.send(json!({"type": "response.incomplete", "response": response}), None, out);
    }

    /// Ends the item that the client has begun to get.
    fn close(&mut self, out: &mut Out<'_>) {
        let Some((at, mut item)) = self.item.take() else { return };
        let id = item["id"].clone();
        if let Some((number, mut part)) = self.part.take()
            && let Some(kind) = KINDS.into_iter().find(|kind| part["type"] == kind.part)
        {
            let text = self.shown((at, kind, number));
            part[kind.field] = text.clone().into();
            let mut place = json!({"item_id": id, "output_index": at});
            place[kind.number] = number.into();
            let mut done = place.clone();
            (done["type"], done[kind.field]) = (format!("{}.done", kind.events).into(), text.into());
            self.send(done, None, out);
            if kind.number == "content_index" {
                (place["type"], place["part"]) = ("response.content_part.done".into(), part.clone());
                self.send(place, None, out);
                item["content"] = json!([part]);
            }
        }
        item["status"] = "incomplete".into();
        self.send(json!({"type": "response.output_item.done", "output_index": at, "item": item}), None, out);
        self.done.push(item);
    }
}
