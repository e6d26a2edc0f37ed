//! What it takes to hold a value to a schema, reckoned before anybody does: a schema of a kilobyte can lead to itself twice at each step,
//! and so to more steps than there is time for.
//!
//! A schema is a graph. Some keywords lead on to other places of it for the same value (`allOf`, `not`, `$ref`), others for what is within
//! the value (`properties`, `items`). How often each place is come to at each level of the value can be counted; that it is come to for
//! each value of that level is a bound, not the truth.

use serde_json::Value;
use std::collections::HashMap;

/// Keywords whose schemas are for the same value.
const SAME: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];
/// Keywords whose schemas are for what is within the value.
const WITHIN: [&str; 10] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "additionalItems",
    "unevaluatedItems",
    "contains",
];
/// Keywords that have a schema under each name.
const NAMED: [&str; 4] = ["properties", "patternProperties", "dependentSchemas", "dependencies"];
/// Keywords that lead to another place of the schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What holding a value to a schema takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effort {
    /// Places that are come to.
    pub(super) steps: u64,
    /// How deep they can lie within each other on the stack.
    pub(super) depth: u64,
}

/// Whether holding a small answer to it takes no time and no stack to speak of: few steps for the same value can follow on each other.
pub fn is_plain(schema: &Value) -> bool {
    fn keywords(schema: &Value) -> usize {
        match schema {
            Value::Array(items) => items.iter().map(keywords).sum(),
            Value::Object(members) => {
                let leads = |name: &str| SAME.contains(&name) || REFERENCES.contains(&name);
                members.iter().map(|(name, value)| usize::from(leads(name)) + keywords(value)).sum()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }
    keywords(schema) < 8
}

/// A place of the schema: where it leads.
#[derive(Debug, Default)]
struct Place {
    same: Vec<usize>,
    within: Vec<usize>,
}

struct Graph<'s> {
    root: &'s Value,
    known: HashMap<*const Value, usize>,
    found: Vec<&'s Value>,
    places: Vec<Place>,
    has_ids: bool,
    has_references: bool,
}

/// Reckons what it takes; why it cannot be told where it cannot.
pub(super) fn effort(schema: &Value, value: &Value, most_steps: u64) -> Result<Effort, String> {
    let mut graph = Graph {
        root: schema,
        known: HashMap::new(),
        found: Vec::new(),
        places: Vec::new(),
        has_ids: false,
        has_references: false,
    };
    graph.place(schema);
    while let Some(schema) = graph.found.get(graph.places.len()).copied() {
        let place = graph.read(schema)?;
        graph.places.push(place);
    }
    if graph.has_ids && graph.has_references {
        return Err("it has references and, within it, an $id: expected one or the other".into());
    }
    let order = graph.order().ok_or("it refers to itself without end")?;
    let mut longest = vec![0_u64; graph.places.len()];
    for &at in order.iter().rev() {
        longest[at] = graph.places[at].same.iter().map(|to| longest[*to] + 1).max().unwrap_or(0);
    }
    let mut levels = Vec::new();
    count(value, 0, &mut levels);
    let longest = longest.into_iter().max().unwrap_or(0) + 1;
    let depth = longest.saturating_mul(levels.len() as u64);

    let mut steps = 0_u64;
    let mut come = vec![0_u64; graph.places.len()];
    come[0] = 1;
    for values in levels {
        let mut below = vec![0_u64; graph.places.len()];
        let mut here = 0_u64;
        for &at in &order {
            let times = come[at];
            if times == 0 {
                continue;
            }
            here = here.saturating_add(times);
            for to in &graph.places[at].same {
                come[*to] = come[*to].saturating_add(times);
            }
            for to in &graph.places[at].within {
                below[*to] = below[*to].saturating_add(times);
            }
        }
        steps = steps.saturating_add(here.saturating_mul(values));
        if steps > most_steps {
            return Err(format!("to hold an answer to it takes more than {most_steps} steps"));
        }
        come = below;
    }
    Ok(Effort { steps, depth })
}

/// How many values there are at each level.
fn count(value: &Value, level: usize, levels: &mut Vec<u64>) {
    if levels.len() == level {
        levels.push(0);
    }
    levels[level] += 1;
    match value {
        Value::Array(items) => items.iter().for_each(|item| count(item, level + 1, levels)),
        // What `propertyNames` is held to is counted with these: each has one name.
        Value::Object(members) => members.values().for_each(|member| count(member, level + 1, levels)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl<'s> Graph<'s> {
    /// The number of a place, which is read in its turn.
    fn place(&mut self, schema: &'s Value) -> usize {
        *self.known.entry(std::ptr::from_ref(schema)).or_insert_with(|| {
            self.found.push(schema);
            self.found.len() - 1
        })
    }

    fn read(&mut self, schema: &'s Value) -> Result<Place, String> {
        let mut place = Place::default();
        let Value::Object(members) = schema else { return Ok(place) };
        // References within it would start from there.
        self.has_ids |= members.contains_key("$id") && !std::ptr::eq(schema, self.root);
        for (name, value) in members {
            let name = name.as_str();
            if REFERENCES.contains(&name) {
                place.same.push(self.target(value)?);
            } else if SAME.contains(&name) {
                self.all(name, value, &mut place.same);
            } else if WITHIN.contains(&name) {
                self.all(name, value, &mut place.within);
            }
        }
        // What was not evaluated is known when all the rest was, once more.
        if members.keys().any(|name| name.starts_with("unevaluated")) {
            place.same.extend_from_within(..);
        }
        Ok(place)
    }

    /// All schemas that stand under a keyword.
    fn all(&mut self, keyword: &str, value: &'s Value, into: &mut Vec<usize>) {
        match value {
            Value::Array(items) => into.extend(items.iter().map(|item| self.place(item))),
            Value::Object(members) if NAMED.contains(&keyword) => {
                into.extend(members.values().map(|of| self.place(of)));
            }
            schema => into.push(self.place(schema)),
        }
    }

    fn target(&mut self, reference: &'s Value) -> Result<usize, String> {
        self.has_references = true;
        let text = reference.as_str().unwrap_or_default();
        let found = text.strip_prefix('#').and_then(|pointer| self.root.pointer(&unescaped(pointer)?));
        let found = found.ok_or_else(|| {
            let text: String = text.chars().take(80).collect();
            format!("it refers to {text:?}, expected a place within it, such as #/$defs/name")
        })?;
        Ok(self.place(found))
    }

    /// The places, each before those that it leads to for the same value; `None` when there is no such order.
    fn order(&self) -> Option<Vec<usize>> {
        let mut waits = vec![0_usize; self.places.len()];
        for to in self.places.iter().flat_map(|place| &place.same) {
            waits[*to] += 1;
        }
        let mut order: Vec<usize> = (0..self.places.len()).filter(|at| waits[*at] == 0).collect();
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            next += 1;
            for to in &self.places[at].same {
                waits[*to] -= 1;
                if waits[*to] == 0 {
                    order.push(*to);
                }
            }
        }
        (order.len() == self.places.len()).then_some(order)
    }
}

/// A pointer in a fragment, without its percent signs.
fn unescaped(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}
