//! The walk of a value along a schema.

use super::document::{Document, Draft, REFERENCES, list, members, named, not};
use super::texts::Texts;
use super::{Fault, Patterns, brief};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Steps to hold a value to a schema: some tens of milliseconds of them. A place is eight and what stands in it.
const MOST_STEPS: u64 = 10_000_000;
/// Places within each other, and bytes of a stack that has room for them also where nothing is optimised. Only what is used of it is taken.
const MOST_PLACES: usize = 10_000;
const STACK: usize = 128 << 20;

/// Whether a value holds to something; why that cannot be told where it cannot.
pub(super) type Held = Result<bool, String>;

/// A value as it is held to a schema.
#[derive(Debug)]
pub(super) struct Walk<'s> {
    pub(super) document: Document<'s>,
    pub(super) texts: Texts,
    /// Steps that are left.
    left: u64,
    /// Places on the way to here.
    depth: usize,
    /// Only whether it holds is asked, and not why not.
    is_quiet: bool,
    /// What is looked at lives for this look alone.
    is_passing: bool,
    /// Faults that are asked for.
    most: usize,
    faults: Vec<Fault>,
    /// Where in the value we are.
    place: String,
    /// Where references lead.
    targets: HashMap<*const Value, &'s Value>,
    /// What references led to and how it ended, and where they have led to and not yet returned from.
    known: HashMap<(*const Value, *const Value), bool>,
    open: HashSet<(*const Value, *const Value)>,
}

impl<'s> Walk<'s> {
    pub(super) fn new(document: Document<'s>, patterns: Patterns, most: usize) -> Self {
        Self {
            texts: Texts::new(patterns),
            document,
            left: MOST_STEPS,
            depth: 0,
            is_quiet: false,
            is_passing: false,
            most,
            faults: Vec::new(),
            place: String::new(),
            targets: HashMap::new(),
            known: HashMap::new(),
            open: HashSet::new(),
        }
    }

    /// The first faults of `value`.
    pub(super) fn faults(mut self, schema: &'s Value, value: &Value) -> Result<Vec<Fault>, String> {
        if self.document.is_plain() {
            self.check(schema, value)?;
        } else {
            stacker::grow(STACK, || self.check(schema, value))?;
        }
        Ok(self.faults)
    }

    /// Takes so many steps.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), String> {
        let left = self.left.checked_sub(steps);
        self.left = left.ok_or("to hold an answer to it takes more steps than there is time for")?;
        Ok(())
    }

    /// Notes, unless it `holds`, what speaks against the value.
    pub(super) fn noted(&mut self, holds: bool, problem: impl FnOnce() -> String) -> bool {
        if !holds && self.wants_more() {
            self.faults.push(Fault { place: self.place.clone(), problem: problem() });
        }
        holds
    }

    /// Whether it matters what else speaks against the value.
    pub(super) fn wants_more(&self) -> bool {
        !self.is_quiet && self.faults.len() < self.most
    }

    /// Whether `value` holds to `schema`, and if not, why.
    fn check(&mut self, schema: &'s Value, value: &Value) -> Held {
        self.deeper(|walk| walk.held_to(schema, value))
    }

    /// Whether `value` holds to `schema`.
    pub(super) fn holds(&mut self, schema: &'s Value, value: &Value) -> Held {
        let was = std::mem::replace(&mut self.is_quiet, true);
        let holds = self.check(schema, value);
        self.is_quiet = was;
        holds
    }

    /// Does something a place further in.
    pub(super) fn deeper<T>(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        if self.depth == MOST_PLACES {
            return Err(format!("its places lie more than {MOST_PLACES} within each other"));
        }
        self.depth += 1;
        let done = what(self);
        self.depth -= 1;
        done
    }

    fn held_to(&mut self, schema: &'s Value, value: &Value) -> Held {
        self.spend(1)?;
        let members = match members(schema)? {
            Ok(members) => members,
            Err(all) => return Ok(self.noted(all, || format!("{} may not be here", brief(value)))),
        };
        self.spend(8 + members.len() as u64)?;
        if self.document.draft <= Draft::Seven
            && let Some(reference) = members.get("$ref")
        {
            return self.follow(reference, value);
        }
        let mut holds = true;
        // What is cheap comes first: it often says enough.
        for is_assertion in [true, false] {
            for (keyword, of) in members {
                holds &= if is_assertion {
                    self.asserted(members, keyword, of, value)?
                } else {
                    self.applied(members, keyword, of, value)?
                };
                if self.is_settled(holds) {
                    return Ok(false);
                }
            }
        }
        Ok(holds)
    }

    /// Whether `value` holds to a keyword that leads to other schemas.
    fn applied(
        &mut self,
        members: &'s Map<String, Value>,
        keyword: &str,
        of: &'s Value,
        value: &Value,
    ) -> Held {
        match (keyword, value) {
            (reference, _) if REFERENCES.contains(&reference) => self.follow(of, value),
            ("allOf", _) => self.all(list(keyword, of)?.iter(), value),
            ("anyOf", _) => {
                let many = self.how_many(list(keyword, of)?, value, 1)?;
                Ok(self.noted(many > 0, || format!("{} holds to none of anyOf", brief(value))))
            }
            ("oneOf", _) => {
                let many = self.how_many(list(keyword, of)?, value, 2)?;
                let said = if many == 0 { "none" } else { "several" };
                Ok(self
                    .noted(many == 1, || format!("{} holds to {said} of oneOf, expected one", brief(value))))
            }
            ("not", _) => {
                let holds = self.holds(of, value)?;
                Ok(self.noted(!holds, || format!("{} holds to what it must not", brief(value))))
            }
            ("if", _) => {
                let branch = if self.holds(of, value)? { "then" } else { "else" };
                members.get(branch).map_or(Ok(true), |branch| self.check(branch, value))
            }
            ("dependentSchemas" | "dependencies", Value::Object(has)) => {
                let mut holds = true;
                for (name, of) in named(keyword, of)? {
                    self.spend(1)?;
                    if has.contains_key(name) {
                        holds &= match of {
                            Value::Array(names) => self.required(names, has)?,
                            schema => self.check(schema, value)?,
                        };
                    }
                    if self.is_settled(holds) {
                        break;
                    }
                }
                Ok(holds)
            }
            (_, Value::Object(has)) => self.applied_to_members(members, keyword, of, has, value),
            (_, Value::Array(items)) => self.applied_to_items(members, keyword, of, items, value),
            _ => Ok(true),
        }
    }

    fn applied_to_members(
        &mut self,
        members: &'s Map<String, Value>,
        keyword: &str,
        of: &'s Value,
        has: &Map<String, Value>,
        value: &Value,
    ) -> Held {
        let mut holds = true;
        match keyword {
            "properties" => {
                for (name, schema) in named(keyword, of)? {
                    self.spend(1)?;
                    if let Some(member) = has.get(name) {
                        holds &= self.within(name, |walk| walk.check(schema, member))?;
                    }
                    if self.is_settled(holds) {
                        break;
                    }
                }
            }
            "patternProperties" => {
                for (pattern, schema) in named(keyword, of)? {
                    for (name, member) in has {
                        if self.matches(pattern, &Value::String(name.clone()))? {
                            holds &= self.within(name, |walk| walk.check(schema, member))?;
                        }
                        if self.is_settled(holds) {
                            return Ok(false);
                        }
                    }
                }
            }
            "additionalProperties" if of != &Value::Bool(true) => {
                for (name, member) in has {
                    if !self.is_named(members, name)? {
                        holds &= self.within(name, |walk| walk.check(of, member))?;
                    }
                    if self.is_settled(holds) {
                        break;
                    }
                }
            }
            "propertyNames" => {
                for name in has.keys() {
                    let was = std::mem::replace(&mut self.is_passing, true);
                    let is_allowed = self.check(of, &Value::String(name.clone()));
                    self.is_passing = was;
                    holds &= is_allowed?;
                    if self.is_settled(holds) {
                        break;
                    }
                }
            }
            "unevaluatedProperties" if of != &Value::Bool(true) => {
                let seen = self.seen(members, value)?.names;
                for (name, member) in has.iter().filter(|(name, _)| !seen.contains(*name)) {
                    holds &= self.within(name, |walk| walk.check(of, member))?;
                    if self.is_settled(holds) {
                        break;
                    }
                }
            }
            _ => {}
        }
        Ok(holds)
    }

    fn applied_to_items(
        &mut self,
        members: &'s Map<String, Value>,
        keyword: &str,
        of: &'s Value,
        items: &[Value],
        value: &Value,
    ) -> Held {
        let mut holds = true;
        match (keyword, of) {
            ("items" | "prefixItems", Value::Array(each)) => {
                for (at, (schema, item)) in each.iter().zip(items).enumerate() {
                    holds &= self.within(&at.to_string(), |walk| walk.check(schema, item))?;
                    if self.is_settled(holds) {
                        break;
                    }
                }
            }
            ("items" | "additionalItems", schema) if schema != &Value::Bool(true) => {
                let from = first_of_rest(members, keyword);
                for (at, item) in items.iter().enumerate().skip(from.unwrap_or(items.len())) {
                    holds &= self.within(&at.to_string(), |walk| walk.check(schema, item))?;
                    if self.is_settled(holds) {
                        break;
                    }
                }
            }
            ("contains", schema) => {
                let mut many = 0;
                for item in items {
                    many += u64::from(self.holds(schema, item)?);
                }
                let bound = |name| {
                    let bound =
                        members.get(name).map(|of| of.as_f64().ok_or_else(|| not("a number", name, of)));
                    bound.transpose()
                };
                #[expect(clippy::cast_precision_loss, reason = "nothing has so many")]
                let has = many as f64;
                let least = bound("minContains")?.unwrap_or(1.0);
                let is_within = has >= least && bound("maxContains")?.is_none_or(|most| has <= most);
                holds =
                    self.noted(is_within, || format!("{} has {many} of what it must contain", brief(value)));
            }
            ("unevaluatedItems", schema) if schema != &Value::Bool(true) => {
                let seen = self.seen(members, value)?.items;
                for (at, item) in items.iter().enumerate().filter(|(at, _)| !seen.contains(at)) {
                    holds &= self.within(&at.to_string(), |walk| walk.check(schema, item))?;
                    if self.is_settled(holds) {
                        break;
                    }
                }
            }
            _ => {}
        }
        Ok(holds)
    }

    /// Whether nothing that follows changes what is said.
    fn is_settled(&self, holds: bool) -> bool {
        !holds && !self.wants_more()
    }

    fn all(&mut self, schemas: impl Iterator<Item = &'s Value>, value: &Value) -> Held {
        let mut holds = true;
        for schema in schemas {
            holds &= self.check(schema, value)?;
            if self.is_settled(holds) {
                break;
            }
        }
        Ok(holds)
    }

    /// To how many it holds, of which so many are of interest.
    fn how_many(&mut self, schemas: &'s [Value], value: &Value, most: usize) -> Result<usize, String> {
        let mut many = 0;
        for schema in schemas {
            many += usize::from(self.holds(schema, value)?);
            if many == most {
                break;
            }
        }
        Ok(many)
    }

    /// Goes where a reference leads. What it led to before, for the same value, is known.
    fn follow(&mut self, reference: &'s Value, value: &Value) -> Held {
        let target = self.target(reference)?;
        let at = (std::ptr::from_ref(target), std::ptr::from_ref(value));
        match self.known.get(&at) {
            Some(true) => return Ok(true),
            Some(false) if !self.wants_more() => return Ok(false),
            _ => {}
        }
        self.enter(at)?;
        let holds = self.check(target, value)?;
        self.leave(at);
        if !self.is_passing {
            self.spend(8)?;
            self.known.insert(at, holds);
        }
        Ok(holds)
    }

    /// Where a reference leads, which is looked up once.
    pub(super) fn target(&mut self, reference: &'s Value) -> Result<&'s Value, String> {
        if let Some(target) = self.targets.get(&std::ptr::from_ref(reference)) {
            return Ok(target);
        }
        self.spend(64 + reference.as_str().map_or(0, str::len) as u64)?;
        let target = self.document.target(reference)?;
        self.targets.insert(reference, target);
        Ok(target)
    }

    /// Comes to a place by reference.
    pub(super) fn enter(&mut self, at: (*const Value, *const Value)) -> Result<(), String> {
        if self.open.insert(at) { Ok(()) } else { Err("it refers to itself without end".into()) }
    }

    /// Leaves it.
    pub(super) fn leave(&mut self, at: (*const Value, *const Value)) {
        self.open.remove(&at);
    }

    /// Does something with what is `name`d within the value.
    fn within(&mut self, name: &str, what: impl FnOnce(&mut Self) -> Held) -> Held {
        if !self.wants_more() {
            return what(self);
        }
        let before = self.place.len();
        self.place.push('/');
        self.place.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let holds = what(self);
        self.place.truncate(before);
        holds
    }

    /// Whether `properties` or a pattern beside it speaks of a member.
    pub(super) fn is_named(&mut self, members: &'s Map<String, Value>, name: &str) -> Held {
        self.spend(1)?;
        if members.get("properties").is_some_and(|of| of.get(name).is_some()) {
            return Ok(true);
        }
        let Some(patterns) = members.get("patternProperties") else { return Ok(false) };
        for pattern in named("patternProperties", patterns)?.keys() {
            if self.matches(pattern, &Value::String(name.to_owned()))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The first item that `items` or `additionalItems` speaks of, if there is any.
pub(super) fn first_of_rest(members: &Map<String, Value>, keyword: &str) -> Option<usize> {
    let each = |name: &str| members.get(name).and_then(Value::as_array).map(Vec::len);
    if keyword == "items" { Some(each("prefixItems").unwrap_or(0)) } else { each("items") }
}
