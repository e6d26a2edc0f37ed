//! JSON schemas that clients bring along: compiled for one answer, within bounds. Whoever writes them is nobody's friend: references can
//! chain for longer than a stack is deep, and patterns can take more memory than there is.

use jsonschema::PatternOptions;
use serde_json::Value;
use std::thread;

/// Values, references and patterns of a schema.
const MOST_VALUES: usize = 50_000;
const MOST_REFERENCES: usize = 500;
const MOST_PATTERNS: usize = 64;
/// Bytes of a compiled pattern.
const MOST_COMPILED: usize = 512 << 10;
/// So many references fit any stack, followed anew at each level of what is judged.
const FEW_REFERENCES: usize = 4;
/// Bytes of the stack on which more of them are followed: all of them at each of the 128 levels that are read. Only what is used of it
/// is taken.
const STACK: usize = 256 << 20;

/// What speaks against a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the value, as a JSON pointer; empty for all of it.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

/// What a schema holds of what is dear.
#[derive(Default)]
struct Counted {
    values: usize,
    references: usize,
    patterns: usize,
}

/// The first faults of `value`, at most so many; why the schema cannot be used where it cannot. Nothing is fetched for it, and its patterns
/// take linear time.
pub fn faults(schema: &Value, value: &Value, most: usize) -> Result<Vec<Fault>, String> {
    let mut counted = Counted::default();
    counted.count(schema);
    for (what, found, most) in [
        ("values", counted.values, MOST_VALUES),
        ("references", counted.references, MOST_REFERENCES),
        ("patterns", counted.patterns, MOST_PATTERNS),
    ] {
        if found > most {
            return Err(format!("it has {found} {what}, expected at most {most}"));
        }
    }
    if counted.references <= FEW_REFERENCES {
        return judge(schema, value, most);
    }
    thread::scope(|scope| {
        let work = || judge(schema, value, most);
        let thread = thread::Builder::new().name("schema".into()).stack_size(STACK).spawn_scoped(scope, work);
        let judged = thread.map_err(|error| format!("there is no room to follow its references: {error}"))?;
        judged.join().unwrap_or_else(|_| Err("it cannot be followed".into()))
    })
}

fn judge(schema: &Value, value: &Value, most: usize) -> Result<Vec<Fault>, String> {
    let patterns = PatternOptions::regex().size_limit(MOST_COMPILED).dfa_size_limit(MOST_COMPILED);
    let options = jsonschema::options().offline().with_pattern_options(patterns);
    let validator = options.build(schema).map_err(|error| error.to_string())?;
    let fault = |error: jsonschema::ValidationError<'_>| Fault {
        place: error.instance_path().to_string(),
        problem: error.to_string(),
    };
    Ok(validator.iter_errors(value).take(most).map(fault).collect())
}

impl Counted {
    fn count(&mut self, schema: &Value) {
        self.values += 1;
        match schema {
            Value::Array(items) => items.iter().for_each(|item| self.count(item)),
            Value::Object(members) => {
                for (name, value) in members {
                    match name.as_str() {
                        "$ref" | "$dynamicRef" | "$recursiveRef" => self.references += 1,
                        "pattern" => self.patterns += 1,
                        "patternProperties" => {
                            self.patterns += value.as_object().map_or(0, serde_json::Map::len);
                        }
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
mod tests {
    use super::*;
    use serde_json::json;

    /// A schema that refers on and on, and at its end to its beginning, a level deeper.
    fn chain(links: usize) -> Value {
        let link = |n: usize| {
            (format!("a{n}"), json!({"allOf": [{"$ref": format!("#/$defs/a{}", n + 1)}, {"type": "object"}]}))
        };
        let mut all: serde_json::Map<String, Value> = (0..links).map(link).collect();
        all.insert(format!("a{links}"), json!({"properties": {"a": {"$ref": "#/$defs/a0"}}}));
        json!({"$ref": "#/$defs/a0", "$defs": all})
    }

    fn nested(levels: usize, innermost: Value) -> Value {
        (0..levels).fold(innermost, |value, _| json!({"a": value}))
    }

    #[test]
    fn references_are_followed_as_far_as_there_may_be_any() {
        for links in [1, FEW_REFERENCES, MOST_REFERENCES - 2] {
            assert_eq!(faults(&chain(links), &nested(100, json!({})), 9), Ok(Vec::new()));
            let wrong = faults(&chain(links), &nested(100, json!(7)), 1).unwrap();
            assert!(wrong[0].place.len() == 200 && wrong[0].problem.contains("object"), "{wrong:?}");
        }
        let endless = faults(&chain(5_000), &json!({}), 1).unwrap_err();
        assert!(endless.contains("5002 references, expected at most 500"), "{endless}");
    }

    #[test]
    fn what_would_take_all_memory_is_not_compiled() {
        let one = json!({"properties": {"a": {"pattern": "\\p{L}{2000}"}}});
        assert!(faults(&one, &json!({"a": "b"}), 1).is_err());
        let many: serde_json::Map<String, Value> =
            (0..1_000).map(|n| (format!("p{n}"), json!({"pattern": format!("{n}")}))).collect();
        let refused = faults(&json!({"properties": many}), &json!({}), 1).unwrap_err();
        assert!(refused.contains("1000 patterns"), "{refused}");
        let wide = json!({"enum": vec![0; MOST_VALUES]});
        assert!(faults(&wide, &json!(0), 1).unwrap_err().contains("values"));
    }

    #[test]
    fn faults_say_where_and_what() {
        let schema =
            json!({"properties": {"city": {"type": "string", "pattern": "^[A-Z]"}}, "required": ["city"]});
        assert_eq!(faults(&schema, &json!({"city": "Rome"}), 5), Ok(Vec::new()));
        let found = faults(&schema, &json!({"city": "rome"}), 5).unwrap();
        assert_eq!((found.len(), found[0].place.as_str()), (1, "/city"));
    }
}
