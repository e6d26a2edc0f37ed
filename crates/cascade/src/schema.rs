//! JSON schemas that clients bring along: compiled for one answer, within bounds. Whoever writes them is nobody's friend: references can
//! lead on for longer than a stack is deep, or to more steps than there is time for, and patterns can take more memory than there is.

mod effort;

pub use effort::is_plain;
use effort::{Effort, effort};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;
use std::thread;

/// Values and patterns of a schema.
const MOST_VALUES: usize = 50_000;
const MOST_PATTERNS: usize = 64;
/// Bytes of all compiled patterns, and of one.
const MOST_COMPILED: usize = 32 << 20;
const MOST_OF_ONE: usize = 10 << 20;
/// Steps of a pattern that looks around at one text.
const MOST_BACKTRACKS: usize = 100_000;
/// Steps to hold a value to a schema, and as many as may each find a fault before the first is told.
const MOST_STEPS: u64 = 1_000_000;
const MANY_STEPS: u64 = 100_000;
/// Places within each other that any stack has room for, and those that one of so many bytes has. Only what is used of it is taken.
const FEW_PLACES: u64 = 1_000;
const MOST_PLACES: u64 = 100_000;
const STACK: usize = 256 << 20;

/// What speaks against a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the value, as a JSON pointer; empty for all of it.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

/// How patterns are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patterns {
    /// In linear time. A schema whose patterns look around cannot be used.
    Linear,
    /// Also those that look around, within a bound.
    LookAround,
}

/// The first faults of `value`, at most so many, and one where there may be very many; why the schema cannot be used where it cannot.
/// Nothing is fetched for it.
pub fn faults(schema: &Value, value: &Value, most: usize, patterns: Patterns) -> Result<Vec<Fault>, String> {
    let mut counted = Counted::default();
    counted.count(schema);
    for (what, found, most) in
        [("values", counted.values, MOST_VALUES), ("patterns", counted.patterns, MOST_PATTERNS)]
    {
        if found > most {
            return Err(format!("it has {found} {what}, expected at most {most}"));
        }
    }
    let Effort { steps, depth } = effort(schema, value, MOST_STEPS)?;
    if depth > MOST_PLACES {
        return Err(format!(
            "its places lie up to {depth} within each other, expected at most {MOST_PLACES}"
        ));
    }
    let most = if steps > MANY_STEPS { most.min(1) } else { most };
    let work = || Ok(judge(&compiled(schema, patterns, counted.patterns)?, value, most));
    if depth <= FEW_PLACES {
        return work();
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("schema".into()).stack_size(STACK).spawn_scoped(scope, work);
        let judged = thread.map_err(|error| format!("there is no room to follow its references: {error}"))?;
        judged.join().unwrap_or_else(|_| Err("it cannot be followed".into()))
    })
}

fn compiled(schema: &Value, patterns: Patterns, many: usize) -> Result<Validator, String> {
    let each = (MOST_COMPILED / many.max(1)).min(MOST_OF_ONE);
    let options = jsonschema::options().offline();
    let options = match patterns {
        Patterns::Linear => {
            options.with_pattern_options(PatternOptions::regex().size_limit(each).dfa_size_limit(each))
        }
        Patterns::LookAround => {
            let patterns = PatternOptions::fancy_regex().backtrack_limit(MOST_BACKTRACKS);
            options.with_pattern_options(patterns.size_limit(each).dfa_size_limit(each))
        }
    };
    options.build(schema).map_err(|error| error.to_string())
}

fn judge(validator: &Validator, value: &Value, most: usize) -> Vec<Fault> {
    let fault = |error: ValidationError<'_>| Fault {
        place: error.instance_path().to_string(),
        problem: error.to_string(),
    };
    match most {
        0 => Vec::new(),
        // All faults are found before the first of many is told.
        1 => validator.validate(value).err().into_iter().map(fault).collect(),
        _ => validator.iter_errors(value).take(most).map(fault).collect(),
    }
}

/// What a schema holds of what is dear.
#[derive(Default)]
struct Counted {
    values: usize,
    patterns: usize,
}

impl Counted {
    fn count(&mut self, schema: &Value) {
        self.values += 1;
        match schema {
            Value::Array(items) => items.iter().for_each(|item| self.count(item)),
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("pattern", Value::String(_)) => self.patterns += 1,
                        ("patternProperties", Value::Object(named)) => self.patterns += named.len(),
                        _ => {}
                    }
                    self.count(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
