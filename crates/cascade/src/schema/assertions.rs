//! Keywords that look at a value itself, and not at what is within it.

use super::brief;
use super::document::{Draft, list, named, not};
use super::walk::{Held, Walk};
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt::Write;

/// Bytes of a pattern, and of the name of a format that anybody knows.
const LONGEST_PATTERN: usize = 4 << 10;
const LONGEST_FORMAT: usize = 64;

impl<'s> Walk<'s> {
    /// Whether `value` holds to a keyword beside `members`; so does every value to a keyword that is none of these.
    pub(super) fn asserted(
        &mut self,
        members: &'s Map<String, Value>,
        keyword: &str,
        of: &'s Value,
        value: &Value,
    ) -> Held {
        match (keyword, value) {
            ("type", _) => {
                let types = of.as_array().map_or(std::slice::from_ref(of), Vec::as_slice);
                for name in types {
                    self.spend(1)?;
                    if is_of_type(name, value)? {
                        return Ok(true);
                    }
                }
                Ok(self.noted(false, || format!("{} is not of type {}", brief(value), few(types, " or "))))
            }
            ("const", _) => {
                let holds = self.is_equal(of, value)?;
                Ok(self.noted(holds, || format!("{} was expected", brief(of))))
            }
            ("enum", _) => {
                for one in list(keyword, of)? {
                    if self.is_equal(one, value)? {
                        return Ok(true);
                    }
                }
                Ok(self.noted(false, || {
                    format!(
                        "{} is not one of {}",
                        brief(value),
                        few(list(keyword, of).unwrap_or_default(), ", ")
                    )
                }))
            }
            ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", Value::Number(number)) => {
                self.within_bound(members, keyword, of, number)
            }
            ("multipleOf", Value::Number(number)) => {
                let holds = is_multiple(number, of)?;
                Ok(self.noted(holds, || format!("{number} is not a multiple of {of}")))
            }
            ("minLength" | "maxLength", Value::String(text)) => {
                self.spend(text.len() as u64 / 16)?;
                self.many(keyword, of, text.chars().count(), "characters")
            }
            ("minItems" | "maxItems", Value::Array(items)) => self.many(keyword, of, items.len(), "items"),
            ("minProperties" | "maxProperties", Value::Object(has)) => {
                self.many(keyword, of, has.len(), "properties")
            }
            ("pattern", Value::String(_)) => {
                let pattern = of.as_str().ok_or_else(|| not("a text", keyword, of))?;
                let holds = self.matches(pattern, value)?;
                Ok(self.noted(holds, || format!("{} does not match {}", brief(value), brief(of))))
            }
            // In later drafts it says nothing.
            ("format", Value::String(text)) if self.document.draft <= Draft::Seven => {
                let known = |format: &&str| *format != "regex" && format.len() <= LONGEST_FORMAT;
                let Some(format) = of.as_str().filter(known) else { return Ok(true) };
                self.spend(self.texts.compiling("format", format))?;
                self.texts.compile("format", format)?;
                self.spend(self.texts.steps("format", format, text.len()))?;
                let holds = self.texts.is_of("format", format, value);
                Ok(self.noted(holds, || format!("{} is not a {}", brief(value), brief(of))))
            }
            ("uniqueItems", Value::Array(items)) if of == &Value::Bool(true) => self.unique(items),
            ("required", Value::Object(has)) if !of.is_boolean() => self.required(list(keyword, of)?, has),
            ("dependentRequired", Value::Object(has)) => {
                let mut holds = true;
                for (name, needs) in named(keyword, of)? {
                    self.spend(1)?;
                    if has.contains_key(name) {
                        holds &= self.required(list(keyword, needs)?, has)?;
                    }
                }
                Ok(holds)
            }
            _ => Ok(true),
        }
    }

    /// Whether all these names are there.
    pub(super) fn required(&mut self, names: &[Value], has: &Map<String, Value>) -> Held {
        let mut holds = true;
        for name in names {
            self.spend(1)?;
            let text = name.as_str().ok_or_else(|| not("names", "required", name))?;
            holds &= self.noted(has.contains_key(text), || format!("{} is a required property", brief(name)));
            if !holds && !self.wants_more() {
                break;
            }
        }
        Ok(holds)
    }

    /// Whether a text is of a pattern.
    pub(super) fn matches(&mut self, pattern: &'s str, text: &Value) -> Held {
        if pattern.len() > LONGEST_PATTERN {
            let many = pattern.len();
            return Err(format!("it has a pattern of {many} bytes, expected at most {LONGEST_PATTERN}"));
        }
        // Whether it is a large one is known when it is compiled.
        let bytes = text.as_str().map_or(0, str::len);
        self.spend(self.texts.compiling("pattern", pattern))?;
        self.texts.compile("pattern", pattern)?;
        self.spend(self.texts.steps("pattern", pattern, bytes))?;
        Ok(self.texts.is_of("pattern", pattern, text))
    }

    fn within_bound(
        &mut self,
        members: &Map<String, Value>,
        keyword: &str,
        of: &Value,
        number: &Number,
    ) -> Held {
        let exclusive = if keyword.ends_with("inimum") { "exclusiveMinimum" } else { "exclusiveMaximum" };
        let Value::Number(bound) = of else {
            // In draft 4 it is said of the bound beside it.
            return if of.is_boolean() && keyword == exclusive {
                Ok(true)
            } else {
                Err(not("a number", keyword, of))
            };
        };
        let excludes = keyword == exclusive || members.get(exclusive) == Some(&Value::Bool(true));
        let beyond = if keyword.ends_with("inimum") { Ordering::Less } else { Ordering::Greater };
        let order = order(number, bound);
        let holds = order != beyond && !(excludes && order == Ordering::Equal);
        Ok(self.noted(holds, || format!("{number} is beyond the {keyword} of {bound}")))
    }

    fn many(&mut self, keyword: &str, of: &Value, many: usize, what: &str) -> Held {
        let bound = of.as_f64().ok_or_else(|| not("a number", keyword, of))?;
        #[expect(clippy::cast_precision_loss, reason = "nothing has so many")]
        let many_of = many as f64;
        let is_beyond = if keyword.starts_with("min") { many_of < bound } else { many_of > bound };
        Ok(self.noted(!is_beyond, || format!("it has {many} {what}, beyond the {keyword} of {of}")))
    }

    fn unique(&mut self, items: &[Value]) -> Held {
        let mut known = HashSet::new();
        for item in items {
            let mut text = String::new();
            self.canonical(item, &mut text)?;
            let is_new = known.insert(text);
            if !self.noted(is_new, || format!("{} is in it twice", brief(item))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A text that two values share when they are equal, and only then.
    fn canonical(&mut self, value: &Value, text: &mut String) -> Result<(), String> {
        self.spend(4)?;
        match value {
            Value::Null => text.push('n'),
            Value::Bool(is) => text.push(if *is { 't' } else { 'f' }),
            Value::Number(number) => match whole(number) {
                Some(whole) => text.push_str(&whole.to_string()),
                None => text.push_str(&number.to_string()),
            },
            Value::String(own) => {
                self.spend(own.len() as u64 / 16)?;
                quote(own, text);
            }
            Value::Array(items) => {
                text.push('[');
                for item in items {
                    self.canonical(item, text)?;
                    text.push(',');
                }
                text.push(']');
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                text.push('{');
                for (name, member) in members {
                    self.spend(name.len() as u64 / 16)?;
                    quote(name, text);
                    self.canonical(member, text)?;
                    text.push(',');
                }
                text.push('}');
            }
        }
        Ok(())
    }

    /// Whether two values are the same: numbers by what they are, not by how they are written.
    fn is_equal(&mut self, one: &Value, other: &Value) -> Held {
        self.spend(1)?;
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => Ok(order(one, other) == Ordering::Equal),
            (Value::String(one), Value::String(other)) => {
                self.spend(if one.len() == other.len() { one.len() as u64 / 64 } else { 0 })?;
                Ok(one == other)
            }
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
                for (one, other) in one.iter().zip(other) {
                    if !self.is_equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Object(one), Value::Object(other)) if one.len() == other.len() => {
                for (name, one) in one {
                    match other.get(name) {
                        Some(other) if self.is_equal(one, other)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            _ => Ok(one == other),
        }
    }
}

fn is_of_type(name: &Value, value: &Value) -> Result<bool, String> {
    Ok(match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_number().is_some_and(|number| whole(number).is_some()),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => return Err(not("the name of one", "type", name)),
    })
}

/// A text after its length, so that nothing in it can be taken for what follows.
fn quote(own: &str, text: &mut String) {
    let _ = write!(text, "{}\"{own}", own.len());
}

/// The first few of a list.
fn few(all: &[Value], between: &str) -> String {
    const FEW: usize = 10;
    let mut text = all.iter().take(FEW).map(brief).collect::<Vec<_>>().join(between);
    if all.len() > FEW {
        let _ = write!(text, " and {} more", all.len() - FEW);
    }
    text
}

/// A number that has no fraction, also where it is written with one.
#[expect(clippy::cast_possible_truncation, reason = "it is looked at before whether it fits")]
fn whole(number: &Number) -> Option<i128> {
    const MOST: f64 = 1e38;
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < MOST);
    number.as_i128().or_else(|| Some(float()? as i128))
}

fn order(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn is_multiple(number: &Number, of: &Value) -> Result<bool, String> {
    let expected = || not("a number greater than 0", "multipleOf", of);
    let of = of.as_number().filter(|of| of.as_f64().is_some_and(|of| of > 0.0)).ok_or_else(expected)?;
    if let (Some(number), Some(of)) = (whole(number), whole(of)) {
        return Ok(number % of == 0);
    }
    let times = number.as_f64().unwrap_or_default() / of.as_f64().unwrap_or(1.0);
    // 0.3 is three times 0.1, though no binary fraction is.
    Ok((times - times.round()).abs() <= 4.0 * f64::EPSILON * times.abs().max(1.0))
}
