//! Texts within JSON, where they stand: so that one can be replaced and every other byte stays.

use crate::request::{Member, members};
use bytes::Bytes;
use serde::de::Error as _;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// A text, and where its literal stands in the whole.
#[derive(Debug)]
pub(super) struct Literal<'a> {
    pub(super) at: Range<usize>,
    pub(super) text: Cow<'a, str>,
}

/// Where `part`, a slice of `whole`, stands in it.
pub(super) fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// The text that `json`, a slice of `whole`, is, if it is one. An error when nobody can say what it says: half of a surrogate pair is
/// replaced by some readers and kept by others.
pub(super) fn literal<'a>(whole: &str, json: &'a str) -> Result<Option<Literal<'a>>, serde_json::Error> {
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return Ok(None) };
    let text = if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        Cow::Borrowed(inner)
    } else {
        Cow::Owned(serde_json::from_str(json)?)
    };
    Ok(Some(Literal { at: place(whole, json), text }))
}

/// The items of the array that `json` is; none where there is nothing. An error when it is another thing: nobody can say what it is to
/// whoever reads it.
pub(super) fn items(json: &str) -> Result<Vec<&RawValue>, serde_json::Error> {
    if matches!(json, "" | "null") { Ok(Vec::new()) } else { serde_json::from_str(json) }
}

/// The object that a member is; `None` where there is nothing. An error when it is another thing.
pub(super) fn object<'a>(
    all: &[Member<'a>],
    name: &str,
) -> Result<Option<Vec<Member<'a>>>, serde_json::Error> {
    member(all, name).filter(|json| *json != "null").map(members).transpose()
}

/// The value of a member.
pub(super) fn member<'a>(all: &[Member<'a>], name: &str) -> Option<&'a str> {
    all.iter().find(|member| member.name == name).map(Member::text)
}

/// The text of a member, unescaped; empty when there is none.
pub(super) fn string<'a>(all: &[Member<'a>], name: &str) -> Cow<'a, str> {
    let found = all.iter().find(|member| member.name == name);
    found.and_then(Member::string).unwrap_or_default()
}

/// Whether what stands under a name is for machines: kinds, ids, signatures, what is encoded.
pub(super) fn is_structural(name: &str) -> bool {
    matches!(
        name,
        "audio"
            | "cache_control"
            | "call_id"
            | "data"
            | "detail"
            | "encrypted_content"
            | "file_data"
            | "file_id"
            | "file_url"
            | "finish_reason"
            | "format"
            | "id"
            | "image_url"
            | "index"
            | "input_audio"
            | "item_id"
            | "media_type"
            | "name"
            | "phase"
            | "role"
            | "signature"
            | "status"
            | "tool_call_id"
            | "tool_use_id"
            | "type"
    )
}

/// So deep JSON may be: as deep as others here read it.
const MOST_DEEP: usize = 128;

/// Every text within `json`, a slice of `whole`, but for those under names that `is_text` does not take. An error when an object
/// names a member twice, or a text cannot be read: nobody can say what counts; and when it is nested without end.
pub(super) fn texts<'a>(
    whole: &str,
    json: &'a str,
    is_text: &impl Fn(&str) -> bool,
    into: &mut Vec<Literal<'a>>,
) -> Result<(), serde_json::Error> {
    texts_within(whole, json, is_text, MOST_DEEP, into)
}

fn texts_within<'a>(
    whole: &str,
    json: &'a str,
    is_text: &impl Fn(&str) -> bool,
    levels: usize,
    into: &mut Vec<Literal<'a>>,
) -> Result<(), serde_json::Error> {
    let below = || levels.checked_sub(1).ok_or_else(|| serde_json::Error::custom("it is nested too deeply"));
    match json.as_bytes().first() {
        Some(b'"') => into.extend(literal(whole, json)?),
        Some(b'[') => {
            let levels = below()?;
            for item in items(json)? {
                texts_within(whole, item.get(), is_text, levels, into)?;
            }
        }
        Some(b'{') => {
            let levels = below()?;
            for member in members(json)?.iter().filter(|member| is_text(&member.name)) {
                texts_within(whole, member.text(), is_text, levels, into)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Pieces of a text that become others.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds others, of other places.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Puts `json` in the place of what stands at `at`.
    pub(super) fn put(&mut self, at: Range<usize>, json: String) {
        self.0.push((at, json));
    }

    /// Puts `text`, as a literal.
    pub(super) fn text(&mut self, at: Range<usize>, text: &str) {
        // A text always serialises; the fallback keeps this function total.
        self.put(at, serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()));
    }

    /// Sets a member of the object in `whole` that `all` are the members of.
    pub(super) fn set(&mut self, whole: &str, all: &[Member<'_>], name: &str, json: &str) {
        if let Some(value) = member(all, name) {
            self.put(place(whole, value), json.to_owned());
        } else if let Some(last) = all.last() {
            let end = place(whole, last.text()).end;
            self.put(end..end, format!(",\"{name}\":{json}"));
        }
    }

    /// The text with all of them made; `None` when there are none.
    pub(super) fn apply(mut self, whole: &[u8]) -> Option<Bytes> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by_key(|(at, _)| (at.start, at.end));
        let mut out = Vec::with_capacity(whole.len() + 64);
        let mut from = 0;
        for (at, json) in &self.0 {
            out.extend_from_slice(whole.get(from..at.start).unwrap_or_default());
            out.extend_from_slice(json.as_bytes());
            from = at.end.max(from);
        }
        out.extend_from_slice(whole.get(from..).unwrap_or_default());
        Some(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_where_they_stand_and_replaced_there() {
        let whole = r#"{ "a" : ["x\u0041", {"id":"y", "t" : "z"}], "n":1 }"#;
        let mut found = Vec::new();
        texts(whole, whole, &|name| name != "id", &mut found).unwrap();
        let read: Vec<&str> = found.iter().map(|literal| literal.text.as_ref()).collect();
        assert_eq!(read, ["xA", "z"]);
        let mut edits = Edits::default();
        edits.text(found[1].at.clone(), "\"");
        let all = members(whole).unwrap();
        edits.set(whole, &all, "n", "2");
        edits.set(whole, &all, "m", "3");
        let edited = edits.apply(whole.as_bytes()).unwrap();
        assert_eq!(edited, r#"{ "a" : ["x\u0041", {"id":"y", "t" : "\""}], "n":2,"m":3 }"#);
        assert!(Edits::default().apply(b"x").is_none());
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        texts(&deep(MOST_DEEP), &deep(MOST_DEEP), &|_| true, &mut Vec::new()).unwrap();
        let endless = deep(100_000);
        for unreadable in [r#"{"a":1,"a":2}"#, r#""x\ud83d""#, r#"["x",{"a":"\ude00"}]"#, &endless] {
            assert!(texts(unreadable, unreadable, &|_| true, &mut Vec::new()).is_err(), "{unreadable:.80}");
        }
    }
}
