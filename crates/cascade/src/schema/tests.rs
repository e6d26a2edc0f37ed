//! Schemas of every kind, and what becomes of those that nobody could follow.

use super::*;
use serde_json::{Map, json};

fn first(schema: &Value, value: &Value) -> Result<Vec<Fault>, String> {
    faults(schema, value, 1, Patterns::Linear)
}

/// Definitions of which each leads to the next, so often, and the last to a schema.
fn chain(links: usize, often: usize, last: Value) -> Value {
    let link = |n: usize| {
        let next: Vec<Value> = (0..often).map(|_| json!({"$ref": format!("#/$defs/a{}", n + 1)})).collect();
        (format!("a{n}"), json!({"allOf": next}))
    };
    let mut all: Map<String, Value> = (0..links).map(link).collect();
    all.insert(format!("a{links}"), last);
    json!({"$ref": "#/$defs/a0", "$defs": all})
}

fn nested(levels: usize, innermost: Value) -> Value {
    (0..levels).fold(innermost, |value, _| json!({"a": value}))
}

#[test]
fn references_are_followed_as_deep_as_there_is_room() {
    let again = || json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a0"}}});
    for links in [1, 4, 10, 400] {
        let schema = chain(links, 1, again());
        assert_eq!(first(&schema, &nested(100, json!({}))), Ok(Vec::new()), "{links}");
        let wrong = first(&schema, &nested(100, json!(7))).unwrap();
        assert!(wrong[0].place.len() == 200 && wrong[0].problem.contains("object"), "{wrong:?}");
    }
    for (schema, levels, says) in [
        (chain(5_000, 1, again()), 30, "within each other"),
        (chain(30, 2, json!({"type": "string"})), 0, "steps"),
        (json!({"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}), 40, "steps"),
        (json!({"anyOf": [{"$ref": "#"}]}), 0, "itself"),
        (json!({"$ref": "#/$defs/none"}), 0, "#/$defs/none"),
        (json!({"$ref": "https://example.com/schema"}), 0, "https://example.com/schema"),
        (json!({"$ref": "#/$defs/a", "$defs": {"a": {"$id": "x", "allOf": [true]}}}), 0, "$id"),
    ] {
        let refused = first(&schema, &nested(levels, json!({}))).unwrap_err();
        assert!(refused.contains(says), "{says}: {refused}");
    }
    // Nested without references.
    let deep = (0..90).fold(json!({"type": "string"}), |schema, _| json!({"not": schema}));
    assert_eq!(first(&deep, &json!("x")), Ok(Vec::new()));
    let again = (0..80).fold(json!({"properties": {"a": {"$ref": "#"}}}), |schema, _| json!({"not": schema}));
    assert_eq!(first(&again, &nested(10, json!({}))), Ok(Vec::new()));
    let spread =
        (0..20).fold(json!(true), |schema, _| json!({"allOf": [schema], "unevaluatedProperties": false}));
    assert!(first(&spread, &json!({})).unwrap_err().contains("steps"));
}

#[test]
fn what_people_write_is_held_to() {
    // A tree, as generators write it, and names that are keywords elsewhere.
    let tree = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/tree", "type": "object",
        "properties": {"name": {"type": "string", "pattern": "^[\\p{L} '-]{1,50}$"}, "$ref": {"type": "string"}, "pattern": {"type": "integer"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/the%20node"}}},
        "required": ["name"], "$defs": {"the node": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}});
    let leaf = json!({"name": "Ann", "$ref": "x", "pattern": 1, "children": []});
    assert_eq!(first(&tree, &json!({"name": "Bob", "children": [leaf, null, leaf]})), Ok(Vec::new()));
    let found = first(&tree, &json!({"name": "Bob", "children": [{"name": "4"}]})).unwrap();
    assert_eq!((found.len(), found[0].place.as_str()), (1, "/children/0"));
    let two = json!({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
    assert_eq!(faults(&two, &json!({"a": 1, "b": 2}), 5, Patterns::Linear).unwrap().len(), 2);
}

#[test]
fn what_would_take_all_memory_is_not_compiled() {
    let one = json!({"properties": {"a": {"pattern": "(\\p{L}{100}){100}"}}});
    assert!(first(&one, &json!({"a": "b"})).is_err());
    let many: Map<String, Value> =
        (0..1_000).map(|n| (format!("p{n}"), json!({"pattern": format!("{n}")}))).collect();
    assert!(first(&json!({"properties": many}), &json!({})).unwrap_err().contains("1000 patterns"));
    assert!(first(&json!({"enum": vec![0; MOST_VALUES]}), &json!(0)).unwrap_err().contains("values"));
}

#[test]
fn patterns_look_around_only_where_they_may() {
    let schema = json!({"type": "string", "pattern": "^(?!no)"});
    assert!(first(&schema, &json!("yes")).is_err());
    let around = |value| faults(&schema, &value, 5, Patterns::LookAround).unwrap().len();
    assert_eq!((around(json!("yes")), around(json!("no"))), (0, 1));
}
