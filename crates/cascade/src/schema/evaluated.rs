//! What of a value the keywords of a schema have looked at, for `unevaluatedProperties` and `unevaluatedItems`.

use super::document::{Draft, REFERENCES, list, members, named};
use super::walk::{Walk, first_of_rest};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Members by name, items by place.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) names: HashSet<String>,
    pub(super) items: HashSet<usize>,
}

type Done = Result<(), String>;

impl<'s> Walk<'s> {
    /// What the keywords beside an `unevaluated…` of `members` have looked at.
    pub(super) fn seen(&mut self, members: &'s Map<String, Value>, value: &Value) -> Result<Seen, String> {
        let mut seen = Seen::default();
        for (keyword, of) in members.iter().filter(|(keyword, _)| !keyword.starts_with("unevaluated")) {
            self.look(members, keyword, of, value, &mut seen)?;
        }
        Ok(seen)
    }

    fn look_at(&mut self, schema: &'s Value, value: &Value, seen: &mut Seen) -> Done {
        self.spend(1)?;
        let Ok(members) = members(schema)? else { return Ok(()) };
        self.spend(8 + members.len() as u64)?;
        self.deeper(|walk| {
            members.iter().try_for_each(|(keyword, of)| walk.look(members, keyword, of, value, seen))
        })
    }

    fn look(
        &mut self,
        members: &'s Map<String, Value>,
        keyword: &str,
        of: &'s Value,
        value: &Value,
        seen: &mut Seen,
    ) -> Done {
        match (keyword, value) {
            (reference, _) if REFERENCES.contains(&reference) => {
                let target = self.target(of)?;
                let at = (std::ptr::from_ref(target), std::ptr::from_ref(value));
                self.enter(at)?;
                self.look_at(target, value, seen)?;
                self.leave(at);
                Ok(())
            }
            ("allOf", _) => {
                list(keyword, of)?.iter().try_for_each(|schema| self.look_at(schema, value, seen))
            }
            ("anyOf" | "oneOf", _) => {
                for schema in list(keyword, of)? {
                    if self.holds(schema, value)? {
                        self.look_at(schema, value, seen)?;
                    }
                }
                Ok(())
            }
            ("if", _) => {
                let branch = if self.holds(of, value)? {
                    self.look_at(of, value, seen)?;
                    "then"
                } else {
                    "else"
                };
                members.get(branch).map_or(Ok(()), |branch| self.look_at(branch, value, seen))
            }
            ("dependentSchemas" | "dependencies", Value::Object(has)) => {
                for (name, schema) in named(keyword, of)? {
                    self.spend(1)?;
                    if has.contains_key(name) && !schema.is_array() {
                        self.look_at(schema, value, seen)?;
                    }
                }
                Ok(())
            }
            (_, Value::Object(has)) => self.look_at_members(members, keyword, of, has, seen),
            (_, Value::Array(items)) => self.look_at_items(members, keyword, of, items, seen),
            _ => Ok(()),
        }
    }

    fn look_at_members(
        &mut self,
        members: &'s Map<String, Value>,
        keyword: &str,
        of: &'s Value,
        has: &Map<String, Value>,
        seen: &mut Seen,
    ) -> Done {
        match keyword {
            "properties" => {
                let of = named(keyword, of)?;
                self.spend(has.len() as u64)?;
                seen.names.extend(has.keys().filter(|name| of.contains_key(*name)).cloned());
            }
            "patternProperties" => {
                for pattern in named(keyword, of)?.keys() {
                    for name in has.keys() {
                        if self.matches(pattern, &Value::String(name.clone()))? {
                            seen.names.insert(name.clone());
                        }
                    }
                }
            }
            "additionalProperties" => {
                for name in has.keys() {
                    if !self.is_named(members, name)? {
                        seen.names.insert(name.clone());
                    }
                }
            }
            "unevaluatedProperties" => {
                self.spend(has.len() as u64)?;
                seen.names.extend(has.keys().cloned());
            }
            _ => {}
        }
        Ok(())
    }

    fn look_at_items(
        &mut self,
        members: &'s Map<String, Value>,
        keyword: &str,
        of: &'s Value,
        items: &[Value],
        seen: &mut Seen,
    ) -> Done {
        match (keyword, of) {
            ("prefixItems" | "items", Value::Array(each)) => {
                self.spend(items.len() as u64)?;
                seen.items.extend(0..each.len().min(items.len()));
            }
            ("items" | "additionalItems", _) => {
                self.spend(items.len() as u64)?;
                seen.items.extend(first_of_rest(members, keyword).unwrap_or(items.len())..items.len());
            }
            ("unevaluatedItems", _) => {
                self.spend(items.len() as u64)?;
                seen.items.extend(0..items.len());
            }
            ("contains", schema) if self.document.draft >= Draft::Of2020 => {
                for (at, item) in items.iter().enumerate() {
                    if self.holds(schema, item)? {
                        seen.items.insert(at);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
