//! A schema as a document: what is in it, and where references lead.

use super::brief;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Keywords that lead to another place of the schema.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What a schema is written in, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draft {
    /// And what was before: an `id` is what is `$id` later.
    Four,
    /// And 6. To here nothing counts beside a `$ref`, and formats are asserted.
    Seven,
    /// What `contains` looks for does not count as looked at.
    Of2019,
    Of2020,
}

impl Draft {
    fn of(schema: &Value) -> Self {
        let names = schema["$schema"].as_str().unwrap_or_default();
        let says = |drafts: &[&str]| drafts.iter().any(|name| names.contains(name));
        match () {
            () if says(&["draft-03", "draft-04"]) => Self::Four,
            () if says(&["draft-06", "draft-07"]) => Self::Seven,
            () if says(&["2019-09"]) => Self::Of2019,
            () => Self::Of2020,
        }
    }
}

/// A whole schema.
#[derive(Debug)]
pub(super) struct Document<'s> {
    root: &'s Value,
    /// What it calls itself, without a fragment.
    id: Option<&'s str>,
    /// Values and patterns in it.
    pub(super) values: usize,
    pub(super) patterns: usize,
    /// Whether it has references, or asks what of a value was looked at.
    pub(super) leads_on: bool,
    pub(super) draft: Draft,
    /// Parts of it that are documents of their own, by what they call themselves; `None` for a name of several.
    parts: HashMap<&'s str, Option<&'s Value>>,
    /// Places by name; `None` for a name of several.
    anchors: HashMap<&'s str, Option<&'s Value>>,
}

impl<'s> Document<'s> {
    pub(super) fn new(root: &'s Value) -> Self {
        let mut document = Self {
            root,
            id: None,
            values: 0,
            patterns: 0,
            leads_on: false,
            draft: Draft::of(root),
            parts: HashMap::new(),
            anchors: HashMap::new(),
        };
        document.id = root[document.id()].as_str().map(|id| id.trim_end_matches('#'));
        document.read(root);
        document
    }

    /// Whether it is small, leads nowhere twice and looks for nothing in texts.
    pub(super) const fn is_plain(&self) -> bool {
        const FEW: usize = 500;
        self.values <= FEW && self.patterns == 0 && !self.leads_on
    }

    fn id(&self) -> &'static str {
        if self.draft == Draft::Four { "id" } else { "$id" }
    }

    fn read(&mut self, value: &'s Value) {
        self.values += 1;
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.read(item)),
            Value::Object(members) => {
                for (name, of) in members {
                    self.note(value, name, of);
                    self.read(of);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// `name` stands in `place`. Whether that is a schema nobody knows yet: a name of a property is taken for a keyword, too.
    fn note(&mut self, place: &'s Value, name: &str, of: &'s Value) {
        self.leads_on |= REFERENCES.contains(&name) || name.starts_with("unevaluated");
        match (name, of) {
            ("pattern", Value::String(_)) => self.patterns += 1,
            ("patternProperties", Value::Object(named)) => self.patterns += named.len(),
            ("$anchor" | "$dynamicAnchor", Value::String(anchor)) => enter(&mut self.anchors, anchor, place),
            (name, Value::String(id)) if name == self.id() => match id.strip_prefix('#') {
                Some(anchor) if !anchor.is_empty() => enter(&mut self.anchors, anchor, place),
                _ if std::ptr::eq(place, self.root) => {}
                _ => enter(&mut self.parts, id, place),
            },
            _ => {}
        }
    }

    /// Where a reference leads.
    pub(super) fn target(&self, reference: &Value) -> Result<&'s Value, String> {
        let text = reference.as_str().ok_or_else(|| not("a text", "$ref", reference))?;
        if !self.parts.is_empty() {
            // Names mean the same in all parts; what begins with a `#` does not.
            let is_name = !text.contains(['#', '/', ':', '%']);
            let part = self.parts.get(text).filter(|_| is_name).copied().flatten();
            return part.ok_or_else(|| {
                format!("it refers to {}, and parts of it have an {} of their own: expected the name of one of them", brief(reference), self.id())
            });
        }
        let within = self.id.and_then(|id| text.strip_prefix(id)).unwrap_or(text);
        let found = match within.strip_prefix('#').or_else(|| within.is_empty().then_some("")) {
            Some(fragment) => {
                let fragment = percent_decode_str(fragment).decode_utf8().ok();
                fragment.and_then(|fragment| match fragment.as_ref() {
                    pointer if pointer.is_empty() || pointer.starts_with('/') => self.root.pointer(pointer),
                    anchor => self.anchors.get(anchor).copied().flatten(),
                })
            }
            None => None,
        };
        found.ok_or_else(|| {
            format!("it refers to {}, expected a place within it, such as #/$defs/name", brief(reference))
        })
    }
}

/// Notes a place by its name.
fn enter<'s>(names: &mut HashMap<&'s str, Option<&'s Value>>, name: &'s str, place: &'s Value) {
    let known = names.entry(name).or_insert(Some(place));
    if known.is_some_and(|known| !std::ptr::eq(known, place)) {
        *known = None;
    }
}

/// The members of a schema; `Err` says that everything or nothing holds to it.
pub(super) fn members(schema: &Value) -> Result<Result<&Map<String, Value>, bool>, String> {
    match schema {
        Value::Object(members) => Ok(Ok(members)),
        Value::Bool(all) => Ok(Err(*all)),
        other => Err(format!("it has {} where a schema belongs", brief(other))),
    }
}

/// Schemas under a keyword that takes a list.
pub(super) fn list<'a>(keyword: &str, of: &'a Value) -> Result<&'a [Value], String> {
    of.as_array().map(Vec::as_slice).ok_or_else(|| not("a list", keyword, of))
}

/// What stands under each name of a keyword that takes names.
pub(super) fn named<'a>(keyword: &str, of: &'a Value) -> Result<&'a Map<String, Value>, String> {
    of.as_object().ok_or_else(|| not("an object", keyword, of))
}

pub(super) fn not(expected: &str, keyword: &str, of: &Value) -> String {
    format!("its {keyword} is {}, expected {expected}", brief(of))
}
