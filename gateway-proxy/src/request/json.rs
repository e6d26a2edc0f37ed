//! A shallow look at a JSON text: the members of one object, each value left as it stands.
//!
//! `serde_json` skips over values without recursion, so nesting cannot exhaust the stack here; it could in an upstream, so
//! depth is bounded by a scan of its own before anything else.

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Objects with more members than this look for duplicates in a set.
const FEW: usize = 24;

/// One member of an object: its name, and its value as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: &'a RawValue,
}

impl<'a> Member<'a> {
    /// The value's text.
    pub(crate) fn text(&self) -> &'a str {
        self.value.get()
    }

    /// The value when it is a string without escapes, or its unescaped form.
    pub(crate) fn string(&self) -> Option<Cow<'a, str>> {
        let text = self.text();
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str::<String>(text).ok().map(Cow::Owned)
    }
}

/// The text of a body that must be UTF-8; otherwise the offset of the first byte that is not.
pub(crate) fn utf8(body: &[u8]) -> Result<&str, usize> {
    std::str::from_utf8(body).map_err(|error| error.valid_up_to())
}

/// The members of the object that `text` is. Refuses what is not an object, what is not JSON, and repeated names: two
/// readers of `{"model": "a", "model": "b"}` may understand two things.
pub(crate) fn members(text: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members)?;
    deserializer.end()?;
    Ok(members)
}

/// The offset at which arrays and objects are nested deeper than `max`.
pub(crate) fn too_deep(text: &str, max: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return Some(at);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The offset of the quote that ends the string whose content starts at `at`, or the end of the text.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<Member<'de>> = Vec::with_capacity(12);
        let mut names: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let repeated = if members.len() < FEW {
                members.iter().any(|m| m.name == name)
            } else {
                if names.is_empty() {
                    names.extend(members.iter().map(|m| m.name.clone()));
                }
                !names.insert(name.clone())
            };
            if repeated {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            members.push(Member { name, value: map.next_value()? });
        }
        Ok(members)
    }
}

/// A name that borrows when it has no escapes; `Cow` alone would always copy.
#[derive(serde::Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_keep_their_text() {
        let all = members(r#" {"a": [1, 2 ], "b\u0041":"x"} "#).unwrap();
        assert_eq!((all[0].name.as_ref(), all[0].text()), ("a", "[1, 2 ]"));
        assert_eq!((all[1].name.as_ref(), all[1].string().unwrap().as_ref()), ("bA", "x"));
    }

    #[test]
    fn repeated_names_are_refused_among_few_and_among_many() {
        assert!(members(r#"{"a":1,"\u0061":2}"#).unwrap_err().to_string().contains("duplicate field `a`"));
        let many: Vec<String> = (0..100).map(|i| format!("\"k{i}\":{i}")).collect();
        assert!(members(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(members(&format!("{{{},\"k3\":0}}", many.join(","))).is_err());
    }

    #[test]
    fn depth_ignores_brackets_in_strings() {
        assert_eq!(too_deep(r#"{"a":"[[[[[[\"[[[["}"#, 1), None);
        assert_eq!(too_deep("[[[1]]]", 3), None);
        assert_eq!(too_deep("[[[1]]]", 2), Some(2));
        assert_eq!(too_deep(&"[".repeat(1_000_000), 64), Some(64));
        assert_eq!(too_deep("[[],[],[]]", 2), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            let _ = members(&text);
            let _ = too_deep(&text, 3);
        }

        #[test]
        fn json_like_text_is_read_without_panic(text in r#"[\[\]{}":,\\a1 ]{0,60}"#) {
            let _ = members(&text);
            let _ = too_deep(&text, 3);
        }
    }
}
