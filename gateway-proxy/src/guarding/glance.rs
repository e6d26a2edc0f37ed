//! A first look: whether a guardrail would say anything of any text in some JSON.
//!
//! Of nearly all requests and answers none does, and one pass over them tells; only what is left is taken apart, text by text. Whatever
//! this does not know counts as something to look at closer: calls of tools, documents, what is no JSON.

use super::places::is_structural;
use crate::request::Name;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Whether every text in `json`, names and what is for machines aside, passes. With `only` those within these members of the object that it
/// is.
pub(super) fn passes(json: &str, only: &[&str], is_fine: &dyn Fn(&str) -> bool) -> bool {
    let mut reader = serde_json::Deserializer::from_str(json);
    Glance { is_fine, only, is_item: true }.deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

/// Looks at a value. An error says that it is to be looked at closer.
#[derive(Clone, Copy)]
struct Glance<'g> {
    is_fine: &'g dyn Fn(&str) -> bool,
    only: &'g [&'g str],
    /// Whether it stands in a list, or by itself.
    is_item: bool,
}

impl Glance<'_> {
    fn within(self, is_item: bool) -> Self {
        Self { only: &[], is_item, ..self }
    }

    /// A list of numbers is tokens, of which nobody here can tell what they say.
    fn no_text<E: Error>(self) -> Result<(), E> {
        if self.is_item { closer() } else { Ok(()) }
    }
}

fn closer<E: Error>() -> Result<(), E> {
    Err(E::custom("to be looked at closer"))
}

impl<'de> DeserializeSeed<'de> for Glance<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Glance<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.no_text()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.no_text()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.no_text()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.no_text()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.no_text()
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if (self.is_fine)(text) { Ok(()) } else { closer() }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.within(true))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            match name.as_ref() {
                _ if !self.only.is_empty() && !self.only.contains(&name.as_ref()) => {
                    members.next_value::<IgnoredAny>()?;
                }
                // What is in them has names of its own, or is a text in some places and none in others.
                "arguments" | "custom" | "data" | "function" | "input" => return closer(),
                "function_call" | "tool_calls" => members.next_value_seed(Nothing)?,
                "type" => members.next_value_seed(Kind)?,
                name if is_structural(name) => {
                    members.next_value::<IgnoredAny>()?;
                }
                _ => members.next_value_seed(self.within(false))?,
            }
        }
        Ok(())
    }
}

/// A value that says that there is nothing.
struct Nothing;

impl<'de> DeserializeSeed<'de> for Nothing {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nothing {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null or an empty list")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if items.next_element::<IgnoredAny>()?.is_some() { closer() } else { Ok(()) }
    }
}

/// The kind of something that is no call of a tool.
struct Kind;

impl<'de> DeserializeSeed<'de> for Kind {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Kind {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a kind")
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<(), E> {
        if kind.ends_with("_call") || kind.ends_with("_use") { closer() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes_all(json: &str) -> bool {
        passes(json, &[], &|text| !text.contains("bad"))
    }

    #[test]
    fn texts_are_found_wherever_they_stand() {
        for fine in [
            r#""good""#,
            r#"[{"role":"user","content":"good","bad":null}]"#,
            r#"[{"role":"bad","id":"bad","content":[{"type":"text","text":"good"}],"tool_calls":[],"function_call":null}]"#,
            r#"{"a":{"b":[[],{"c":null}],"d":true,"e":-1.5}}"#,
        ] {
            assert!(passes_all(fine), "{fine}");
        }
        for closer in [
            r#""bad""#,
            r#""b\u0061d""#,
            r#"[{"role":"user","content":"b\u0061d"}]"#,
            r#"[{"role":"user","content":"good","content":"bad"}]"#,
            r#"[{"role":"user","content":[{"type":"text","text":"bad"}]}]"#,
            r#"[{"t\u0065xt":"bad"}]"#,
            r#"[{"unknown":{"x":["bad"]}}]"#,
        ] {
            assert!(!passes_all(closer), "{closer}");
        }
    }

    #[test]
    fn what_is_not_known_is_looked_at_closer() {
        for closer in [
            "7",
            "[7]",
            "[1.5]",
            "[[7]]",
            "[null]",
            "{",
            "",
            r#"{"choices":[]} "bad""#,
            r#""good\ud83d""#,
            r#"[{"type":"tool_use"}]"#,
            r#"[{"type":"function_c\u0061ll"}]"#,
            r#"[{"type":7}]"#,
            r#"[{"tool_calls":[{}]}]"#,
            r#"[{"tool_calls":{}}]"#,
            r#"[{"function_call":"good"}]"#,
            r#"[{"arguments":"good"}]"#,
            r#"[{"input":"good"}]"#,
            r#"[{"data":"good"}]"#,
            r#"[{"source":{"d\u0061ta":"good"}}]"#,
        ] {
            assert!(!passes_all(closer), "{closer}");
        }
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(!passes_all(&deep));
    }

    #[test]
    fn only_what_is_asked_for_is_looked_at() {
        let fine = |text: &str| text != "bad";
        let json =
            r#"{"id":"bad","model":"bad","data":1,"choices":[{"index":0,"message":{"content":"good"}}]}"#;
        assert!(passes(json, &["choices"], &fine));
        assert!(!passes(json, &["model"], &fine));
        assert!(!passes(r#"{"choices":[{"text":"bad"}]}"#, &["choices"], &fine));
        assert!(!passes(r#"{"choices":[],"choices":["bad"]}"#, &["choices"], &fine));
    }
}
