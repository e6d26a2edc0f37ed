//! Instances of JSON Schemas: what structured output and tool arguments are made of.
//!
//! Covers what model providers accept for structured output: objects, arrays, strings with formats, numbers with bounds,
//! enums, constants, alternatives, `$ref` into the same document, and recursion (ended as early as the schema permits).
//! `pattern` is not honoured.

use crate::hash::Sequence;
use serde_json::{Map, Value, json};

/// How deep an instance may go before recursion is ended by the shortest way out.
const DEPTH: u32 = 6;
const WORDS: [&str; 12] = [
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris", "juniper", "kelp",
    "lumen",
];

/// An instance of `schema`.
pub(crate) fn instance(schema: &Value, numbers: &mut Sequence) -> Value {
    Maker { root: schema, numbers }.make(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    numbers: &'a mut Sequence,
}

impl<'a> Maker<'a> {
    fn make(&mut self, schema: &'a Value, depth: u32) -> Value {
        // A chain of references that only leads to itself has no instance.
        if depth > DEPTH * 4 {
            return Value::Null;
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array).filter(|o| !o.is_empty()) {
            return self.pick(options).cloned().unwrap_or_default();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            return self.resolve(target).map_or(Value::Null, |s| self.make(s, depth + 1));
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(options) = schema.get(word).and_then(Value::as_array) {
                return self.alternative(options, depth);
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(parts, depth);
        }
        self.typed(schema, depth)
    }

    fn typed(&mut self, schema: &'a Value, depth: u32) -> Value {
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) if depth > DEPTH && kinds.iter().any(|k| k == "null") => "null",
            Some(Value::Array(kinds)) => kinds.iter().find_map(Value::as_str).unwrap_or("null"),
            _ if schema.get("properties").is_some() => "object",
            _ if schema.get("items").is_some() => "array",
            _ => "string",
        };
        match kind {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "integer" => self.integer(schema),
            "number" => self.number(schema),
            "boolean" => Value::Bool(self.numbers.below(2) == 1),
            "null" => Value::Null,
            _ => Value::String(self.string(schema)),
        }
    }

    fn pick<T>(&mut self, options: &'a [T]) -> Option<&'a T> {
        let index = self.numbers.below(options.len() as u64);
        options.get(usize::try_from(index).unwrap_or(0))
    }

    fn resolve(&self, target: &str) -> Option<&'a Value> {
        self.root.pointer(target.strip_prefix('#')?)
    }

    /// One of several schemas; deep down, the one that ends soonest.
    fn alternative(&mut self, options: &'a [Value], depth: u32) -> Value {
        let chosen = if depth > DEPTH {
            options.iter().min_by_key(|o| match o.get("type").and_then(Value::as_str) {
                Some("null") => 0,
                Some("object") => 2,
                None => 3,
                Some(_) => 1,
            })
        } else {
            // `null` is a poor answer where another is possible.
            let index = self.numbers.below(options.len() as u64);
            let drawn = options.get(usize::try_from(index).unwrap_or(0));
            drawn
                .filter(|o| o["type"] != "null")
                .or_else(|| options.iter().find(|o| o["type"] != "null"))
                .or(drawn)
        };
        chosen.map_or(Value::Null, |s| self.make(s, depth + 1))
    }

    fn all_of(&mut self, parts: &'a [Value], depth: u32) -> Value {
        let mut merged = Map::new();
        for part in parts {
            match self.make(part, depth + 1) {
                Value::Object(fields) => merged.extend(fields),
                other => return other,
            }
        }
        Value::Object(merged)
    }

    fn object(&mut self, schema: &'a Value, depth: u32) -> Value {
        let required: Vec<&str> = match schema.get("required").and_then(Value::as_array) {
            Some(names) => names.iter().filter_map(Value::as_str).collect(),
            None => Vec::new(),
        };
        let mut fields = Map::new();
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                if required.contains(&name.as_str()) || depth < DEPTH {
                    fields.insert(name.clone(), self.make(property, depth + 1));
                }
            }
        }
        Value::Object(fields)
    }

    fn array(&mut self, schema: &'a Value, depth: u32) -> Value {
        if let Some(prefix) = schema.get("prefixItems").and_then(Value::as_array) {
            return prefix.iter().map(|s| self.make(s, depth + 1)).collect();
        }
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or_else(|| least.max(2));
        let length = if depth >= DEPTH { least } else { least.max(1 + self.numbers.below(2)).min(most) };
        match schema.get("items") {
            Some(items) => (0..length).map(|_| self.make(items, depth + 1)).collect(),
            None => (0..length).map(|_| json!("item")).collect(),
        }
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let least = bound(schema, "minimum", "exclusiveMinimum", 1);
        let most = bound(schema, "maximum", "exclusiveMaximum", -1);
        let (least, most) = match (least, most) {
            (Some(least), Some(most)) => (least, most.max(least)),
            (Some(least), None) => (least, least.saturating_add(100)),
            (None, Some(most)) => (most.saturating_sub(100), most),
            (None, None) => (1, 100),
        };
        let width = most.abs_diff(least).saturating_add(1);
        let drawn = least.saturating_add_unsigned(self.numbers.below(width));
        match schema.get("multipleOf").and_then(Value::as_i64).filter(|step| *step > 0) {
            // Upwards if that stays inside, else downwards.
            Some(step) => {
                let down = drawn.div_euclid(step).saturating_mul(step);
                json!(if down >= least { down } else { down.saturating_add(step) })
            }
            None => json!(drawn),
        }
    }

    fn number(&mut self, schema: &Value) -> Value {
        let get = |word: &str| schema.get(word).and_then(Value::as_f64);
        let least = get("minimum").or(get("exclusiveMinimum"));
        let most = get("maximum").or(get("exclusiveMaximum"));
        let (least, most) = match (least, most) {
            (Some(least), Some(most)) => (least, most),
            (Some(least), None) => (least, least + 100.0),
            (None, Some(most)) => (most - 100.0, most),
            (None, None) => (0.0, 100.0),
        };
        // Strictly inside, for bounds that exclude themselves.
        json!(least + (most - least) * (0.25 + self.numbers.share() / 2.0))
    }

    fn string(&mut self, schema: &Value) -> String {
        match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => return "2026-01-15T09:30:00Z".to_owned(),
            Some("date") => return "2026-01-15".to_owned(),
            Some("time") => return "09:30:00Z".to_owned(),
            Some("duration") => return "PT15M".to_owned(),
            Some("email") => return "amber@example.com".to_owned(),
            Some("hostname") => return "example.com".to_owned(),
            Some("ipv4") => return "192.0.2.1".to_owned(),
            Some("ipv6") => return "2001:db8::1".to_owned(),
            Some("uri" | "url") => return "https://example.com/amber".to_owned(),
            Some("uuid") => return "0190f3c2-7d4e-7000-8000-0123456789ab".to_owned(),
            _ => {}
        }
        let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
        let most = schema.get("maxLength").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let mut text = String::new();
        loop {
            text.push_str(self.pick(&WORDS).copied().unwrap_or("amber"));
            if text.len() as u64 >= least {
                break;
            }
            text.push(' ');
        }
        text.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        text
    }
}

/// An integer bound, given as inclusive or exclusive; `inward` is the step from the exclusive bound to the inside.
fn bound(schema: &Value, inclusive: &str, exclusive: &str, inward: i64) -> Option<i64> {
    let whole = |word: &str| schema.get(word).and_then(Value::as_i64);
    whole(inclusive).or_else(|| whole(exclusive).map(|b| b.saturating_add(inward)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(schema: &Value, seed: u64) -> Value {
        instance(schema, &mut Sequence::new(seed))
    }

    #[test]
    fn every_required_field_is_there_with_its_type() {
        let schema = json!({
            "type": "object", "required": ["name", "age", "tags", "address", "mood", "when", "ok"],
            "properties": {
                "name": {"type": "string", "minLength": 20, "maxLength": 22},
                "age": {"type": "integer", "minimum": 18, "exclusiveMaximum": 20},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3},
                "address": {"$ref": "#/$defs/address"},
                "mood": {"anyOf": [{"type": "null"}, {"const": "happy"}]},
                "when": {"type": "string", "format": "date"},
                "ok": {"type": ["boolean", "null"]},
            },
            "$defs": {"address": {"type": "object", "required": ["zip"],
                "properties": {"zip": {"type": "number", "minimum": 0.5, "maximum": 0.75}}}},
        });
        for seed in 0..50 {
            let made = of(&schema, seed);
            assert!((20..=22).contains(&made["name"].as_str().unwrap().len()), "{made}");
            assert!((18..20).contains(&made["age"].as_i64().unwrap()), "{made}");
            let tags = made["tags"].as_array().unwrap();
            assert!(tags.len() >= 3 && tags.iter().all(|t| t == "a" || t == "b"), "{made}");
            assert!((0.5..=0.75).contains(&made["address"]["zip"].as_f64().unwrap()), "{made}");
            assert_eq!(made["mood"], "happy");
            assert_eq!(made["when"].as_str().unwrap().len(), 10);
            assert!(made["ok"].is_boolean());
        }
    }

    #[test]
    fn recursion_ends() {
        let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
            "required": ["value", "children"], "properties": {"value": {"type": "integer"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}});
        let list = json!({"type": "object", "required": ["next"], "properties":
            {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}});
        let endless = json!({"$ref": "#"});
        for schema in [&tree, &list, &endless] {
            assert!(of(schema, 3).to_string().len() < 20_000);
        }
    }

    proptest! {
        #[test]
        fn integers_stay_within_bounds(least in -1000i64..1000, width in 0i64..1000, step in 1i64..5, seed: u64) {
            let (low, high) = (least * step, (least + width) * step);
            let made = of(&json!({"type": "integer", "minimum": low, "maximum": high, "multipleOf": step}), seed);
            let number = made.as_i64().unwrap();
            prop_assert!((low..=high).contains(&number) && number % step == 0);
        }
    }
}
