//! The members of one JSON object, each value left as it stands, and edits of the text around them.

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// An object's text and where its members stand in it.
pub(crate) struct Object<'a> {
    text: &'a str,
    /// The offset behind the opening brace.
    inside: usize,
    members: Vec<Member<'a>>,
}

/// One member of an object.
pub(crate) struct Member<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: &'a str,
    /// Where the value stands in the object's text.
    pub(crate) at: Range<usize>,
}

impl<'a> Object<'a> {
    /// Refuses what is not an object, what is not JSON, and repeated names.
    pub(crate) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let raw = deserializer.deserialize_map(Members)?;
        deserializer.end()?;
        let place = |value: &'a RawValue| {
            let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
            start..start + value.get().len()
        };
        let members = raw
            .into_iter()
            .map(|(name, value)| Member { name, value: value.get(), at: place(value) })
            .collect();
        let inside = text.find('{').map_or(0, |at| at + 1);
        Ok(Self { text, inside, members })
    }

    /// A member that is there and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&Member<'a>> {
        self.find(name).filter(|member| member.value != "null")
    }

    fn find(&self, name: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.name == name)
    }

    /// All members, as they were written.
    pub(crate) fn members(&self) -> &[Member<'a>] {
        &self.members
    }
}

/// Changes of one object, made all at once.
pub(crate) struct Edits<'o, 'a> {
    object: &'o Object<'a>,
    replaced: Vec<(Range<usize>, String)>,
    removed: Option<usize>,
    added: String,
}

impl<'o, 'a> Edits<'o, 'a> {
    pub(crate) const fn of(object: &'o Object<'a>) -> Self {
        Self { object, replaced: Vec::new(), removed: None, added: String::new() }
    }

    /// Puts `text` in the place of a part of the object's text.
    pub(crate) fn replace(&mut self, at: Range<usize>, text: String) {
        self.replaced.push((at, text));
    }

    /// Gives a member this value, whether it is there or not.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        if let Some(member) = self.object.find(name) {
            self.replace(member.at.clone(), value);
            return;
        }
        self.added.push(',');
        self.added.push_str(&quoted(name));
        self.added.push(':');
        self.added.push_str(&value);
    }

    /// Takes a member away. At most one.
    pub(crate) fn remove(&mut self, name: &str) {
        self.removed = self.object.members.iter().position(|member| member.name == name);
    }

    /// The object's text with the changes.
    pub(crate) fn apply(mut self) -> String {
        let members = &self.object.members;
        let end_of = |n: usize| members[n].at.end;
        if let Some(n) = self.removed {
            let at = match n.checked_sub(1) {
                Some(before) => end_of(before)..end_of(n),
                None => {
                    self.object.inside..members.get(1).map_or(end_of(0), |_| self.behind_comma(end_of(0)))
                }
            };
            self.replaced.push((at, String::new()));
        }
        if !self.added.is_empty() {
            let last = (0..members.len()).rev().find(|n| Some(*n) != self.removed);
            let added = if last.is_some() { self.added } else { self.added.split_off(1) };
            let at = last.map_or(self.object.inside, end_of);
            self.replaced.push((at..at, added));
        }
        // What is put in where something is taken away comes first.
        self.replaced.sort_by_key(|(at, _)| (at.start, at.end));
        let text = self.object.text;
        let more: usize = self.replaced.iter().map(|(_, new)| new.len()).sum();
        let mut result = String::with_capacity(text.len() + more);
        let mut done = 0;
        for (at, new) in &self.replaced {
            result.push_str(&text[done..at.start]);
            result.push_str(new);
            done = at.end;
        }
        result.push_str(&text[done..]);
        result
    }

    fn behind_comma(&self, from: usize) -> usize {
        self.object.text[from..].find(',').map_or(from, |at| from + at + 1)
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    // A text always serialises; the fallback keeps this function total.
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into())
}

/// What a value is and how it begins, for errors.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(80).collect()
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::with_capacity(12);
        let mut sorted: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            sorted.push(name.clone());
            members.push((name, map.next_value()?));
        }
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(A::Error::custom(format_args!("duplicate field `{}`", pair[0]))),
            None => Ok(members),
        }
    }
}

/// A name that borrows when it has no escapes; `Cow` alone would always copy.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    #[test]
    fn members_are_taken_away_wherever_they_stand() {
        let cases = [
            (r#"{"p":{},"a":1}"#, r#"{"a":1}"#),
            (r#"{ "p" : {} , "a" : 1 }"#, r#"{ "a" : 1 }"#),
            (r#"{"a": 1, "p": [","], "b": 2}"#, r#"{"a": 1, "b": 2}"#),
            (r#"{"a": 1, "p": {}}"#, r#"{"a": 1}"#),
            (r#"{ "p": {} }"#, "{ }"),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ];
        for (text, expected) in cases {
            let object = Object::read(text).unwrap();
            let mut edits = Edits::of(&object);
            edits.remove("p");
            assert_eq!(edits.apply(), expected);
        }
    }

    #[test]
    fn repeated_names_are_refused() {
        assert!(Object::read(r#"{"a":1,"\u0061":2}"#).is_err());
        assert!(Object::read("[1]").is_err());
    }

    proptest! {
        #[test]
        fn edits_do_what_they_say(
            members in prop::collection::btree_map("[a-c\"\\\\]{1,2}", prop_oneof!["[a\"]{0,3}".prop_map(Value::from), Just(Value::Null)], 0..5),
            pad in "[ \n]{0,2}", remove in "[a-c]", set in "[a-d]{1,2}",
        ) {
            let parts: Vec<String> = members.iter().map(|(k, v)| format!("{pad}{}{pad}:{pad}{v}{pad}", quoted(k))).collect();
            let text = format!("{pad}{{{pad}{}}}{pad}", parts.join(","));
            prop_assume!(remove != set);
            let object = Object::read(&text).unwrap();
            let mut edits = Edits::of(&object);
            edits.remove(&remove);
            edits.set(&set, "7".into());
            let mut expected: Map<String, Value> = members.into_iter().collect();
            expected.remove(&remove);
            expected.insert(set, 7.into());
            let result: Map<String, Value> = serde_json::from_str(&edits.apply()).unwrap();
            prop_assert_eq!(result, expected);
        }
    }
}
