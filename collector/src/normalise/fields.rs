//! The attributes of one span, from which dialects take what they know; what is left at the end goes into the map.

use super::values;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use std::collections::BTreeMap;

/// Attributes by key. Sorted, because two dialects flatten lists into keys with a common prefix.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Of OTLP attributes. Of a key that is there twice the last value stays, as OTLP forbids the case; one without a value
    /// is kept as an empty text.
    pub(super) fn new(attributes: Vec<KeyValue>) -> Self {
        let entry = |entry: KeyValue| {
            let value = entry.value.and_then(|value| value.value);
            (entry.key, value.unwrap_or_else(|| Value::StringValue(String::new())))
        };
        Self(attributes.into_iter().map(entry).collect())
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Takes a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// Takes a key out, as text.
    pub(super) fn take_text(&mut self, key: &str) -> Option<String> {
        self.take(key).map(|value| match value {
            Value::StringValue(text) => text,
            other => values::text(&other),
        })
    }

    /// Puts a key in.
    pub(super) fn put(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }

    /// Takes out every `{prefix}{N}.{rest}` and returns the groups in the order of `N`, keyed by `rest`. A key that ends
    /// with the number is in its group under the empty key.
    pub(super) fn take_groups(&mut self, prefix: &str) -> Vec<Fields> {
        let keys: Vec<(u64, String)> = self
            .0
            .range(prefix.to_owned()..)
            .map_while(|(key, _)| key.strip_prefix(prefix).map(|rest| (key, rest)))
            .filter_map(|(key, rest)| {
                let number = rest.split_once('.').map_or(rest, |(number, _)| number);
                // `02` is not taken for `2`: two keys must not become one.
                let plain =
                    number.bytes().all(|b| b.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
                plain.then(|| number.parse().ok()).flatten().map(|number| (number, key.clone()))
            })
            .collect();
        let mut groups: BTreeMap<u64, Fields> = BTreeMap::new();
        for (number, key) in keys {
            if let Some(value) = self.0.remove(&key) {
                let rest = key[prefix.len()..].split_once('.').map_or("", |(_, rest)| rest);
                groups.entry(number).or_default().0.insert(rest.to_owned(), value);
            }
        }
        groups.into_values().collect()
    }

    /// Whether any key starts with `prefix`.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.0.range(prefix.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(prefix))
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left, as key and value.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (String, Value)> {
        self.0.into_iter()
    }

    /// What is left, as texts.
    pub(super) fn into_texts(self) -> Vec<(String, String)> {
        self.0
            .into_iter()
            .map(|(key, value)| match value {
                Value::StringValue(text) => (key, text),
                other => (key, values::text(&other)),
            })
            .collect()
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, Value); N]> for Fields {
    fn from(entries: [(&str, Value); N]) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_the_order_of_their_numbers_and_leave_the_rest() {
        let text = |text: &str| Value::StringValue(text.to_owned());
        let mut fields = Fields::from([
            ("p.10.role", text("last")),
            ("p.2.role", text("first")),
            ("p.2.content", text("c")),
            ("p.3", text("bare")),
            ("p.name", text("kept")),
            ("p.99999999999999999999999.role", text("kept")),
            ("p..role", text("kept")),
            ("p.02.role", text("kept")),
            ("q.0.role", text("kept")),
        ]);
        let groups = fields.take_groups("p.");
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0].get("role"), Some(&text("first")));
        assert_eq!(groups[0].get("content"), Some(&text("c")));
        assert_eq!(groups[1].get(""), Some(&text("bare")));
        assert_eq!(groups[2].get("role"), Some(&text("last")));
        assert_eq!(fields.into_entries().count(), 5);
    }
}
