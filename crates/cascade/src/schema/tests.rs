//! Schemas of every kind, and what becomes of those that nobody could follow.

use super::*;
use proptest::prelude::*;
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
    for links in [1, 4, 10, 40] {
        let schema = chain(links, 1, again());
        assert_eq!(first(&schema, &nested(100, json!({}))), Ok(Vec::new()), "{links}");
        let wrong = first(&schema, &nested(100, json!(7))).unwrap();
        assert!(wrong[0].place.len() == 200 && wrong[0].problem.contains("object"), "{wrong:?}");
    }
    for (schema, levels, says) in [
        (chain(5_000, 1, again()), 30, "within each other"),
        (json!({"anyOf": [{"$ref": "#"}]}), 0, "itself"),
        (json!({"unevaluatedItems": false, "allOf": [{"$ref": "#"}]}), 0, "itself"),
        (json!({"$ref": "#/$defs/none"}), 0, "#/$defs/none"),
        (json!({"$ref": "https://example.com/schema"}), 0, "https://example.com/schema"),
        (json!({"$ref": "#/$defs/a", "$defs": {"a": {"$id": "x", "allOf": [true]}}}), 0, "$id"),
        (json!({"$ref": "#/$defs/x/y", "$defs": {"x": {"$id": "x", "y": true}}}), 0, "$id"),
        (json!({"$ref": "#a", "$defs": {"b": {"$anchor": "a"}, "c": {"$anchor": "a"}}}), 0, "#a"),
        (json!({"$ref": 5}), 0, "$ref is 5"),
        (json!({"type": "text"}), 0, "type"),
        (json!({"allOf": {}}), 0, "allOf"),
    ] {
        let refused = first(&schema, &nested(levels, json!({}))).unwrap_err();
        assert!(refused.contains(says), "{says}: {refused}");
    }
    // There is room for a pattern, however deep it stands.
    let nests = |n: usize| json!({"pattern": format!("{}a{n}{}", "(".repeat(200), ")".repeat(200))});
    let all: Vec<Value> = (0..8).map(nests).collect();
    let deep = chain(4_000, 1, json!({"allOf": all}));
    assert_eq!(first(&deep, &json!("a0a1a2a3a4a5a6a7")), Ok(Vec::new()));
    // What was found out once is not found out again, however often it is referred to.
    assert_eq!(first(&chain(30, 2, json!({"type": "object"})), &json!({})), Ok(Vec::new()));
    assert_eq!(faults(&chain(30, 2, json!(false)), &json!({}), 5, Patterns::Linear).unwrap().len(), 5);
    let twice = json!({"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
    assert_eq!(first(&twice, &nested(90, json!({}))), Ok(Vec::new()));
}

#[test]
fn what_takes_too_long_is_given_up() {
    let steps = |schema: &Value, value: &Value| first(schema, value).unwrap_err();
    let spread =
        (0..24).fold(json!(true), |schema, _| json!({"anyOf": [schema], "unevaluatedProperties": false}));
    let below = (0..40).fold(
        json!({"type": "string"}),
        |schema, _| json!({"anyOf": [{"properties": {"b": true}}], "unevaluatedProperties": schema}),
    );
    let names: Vec<String> = (0..2_000).map(|n| format!("n{n}")).collect();
    let missing = json!({"anyOf": [{"items": {"required": names}}]});
    let rows = |many: usize| Value::from(vec![json!({}); many]);
    let listed = json!({"items": {"allOf": vec![json!({"enum": (0..400).collect::<Vec<_>>()}); 100]}});
    let scanned = json!({"items": {"allOf": vec![json!({"pattern": "[ab]*c?$"}); 60]}});
    let long = Value::from(vec![Value::from("ab".repeat(5_000)); 100]);
    assert_eq!(first(&missing, &rows(6_000)).unwrap().len(), 1);
    assert_eq!(first(&below, &nested(40, json!(1))).unwrap()[0].place.len(), 80);
    assert!(steps(&spread, &json!({})).contains("steps"));
    assert!(steps(&scanned, &long).contains("steps"));
    assert!(steps(&listed, &Value::from(vec![399; 1_000])).contains("steps"));
    // A pattern of many states may hold each byte to each of them.
    let large = json!({"items": {"pattern": "^(?:[ -~]?){3000}\\x00$"}});
    assert!(steps(&large, &Value::from(vec!["a".repeat(100_000)])).contains("steps"));
    // What is cheap is not free where it is come to very often.
    let names = |innermost: Value| json!({"propertyNames": {"$ref": "#/$defs/a0"}, "$defs": chain(30, 2, innermost)["$defs"]});
    for innermost in [
        json!({"not": {"type": vec!["null"; 40_000]}}),
        json!({"not": {"anyOf": vec![false; 40_000]}}),
        json!({"$ref": format!("#/$defs/{}", "a".repeat(100_000))}),
    ] {
        assert!(first(&names(innermost), &json!({"a": 1})).is_err());
    }
    // Compiled, this has a billion places.
    let mut schema = chain(30, 2, json!(true));
    let of = json!({"x": {"unevaluatedProperties": false, "$ref": "#/$defs/a0"}});
    schema = json!({"properties": of, "$defs": schema["$defs"]});
    assert_eq!(first(&schema, &json!({})), Ok(Vec::new()));
    assert!(steps(&schema, &json!({"x": {}})).contains("steps"));
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
    // Rows of columns that may be empty, blocks of fifty kinds, and an expression within an expression.
    let column = |n: usize| (format!("c{n}"), json!({"anyOf": [{"type": "string"}, {"type": "null"}]}));
    let table = json!({"items": {"properties": (0..60).map(column).collect::<Map<_, _>>(), "additionalProperties": false}});
    let row: Map<String, Value> = (0..60).map(|n| (format!("c{n}"), Value::Null)).collect();
    assert_eq!(first(&table, &Value::from(vec![Value::from(row); 1_000])), Ok(Vec::new()));
    let block = |n: usize| json!({"properties": {"kind": {"const": n}, "a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "required": ["kind"]});
    let blocks = json!({"items": {"anyOf": (0..50).map(block).collect::<Vec<_>>()}});
    assert_eq!(first(&blocks, &Value::from(vec![json!({"kind": 49, "a": null}); 1_000])), Ok(Vec::new()));
    let operator = |name: &str| json!({"properties": {"left": {"$ref": "#"}, "op": {"const": name}, "right": {"$ref": "#"}}, "required": ["left", "op", "right"]});
    let operators: Vec<Value> = ["+", "-", "*", "/", "<", ">", "=", "!"].map(operator).into();
    let expression = json!({"anyOf": [{"type": "number"}, {"oneOf": operators}]});
    let value = (0..90).fold(json!(1), |left, _| json!({"left": left, "op": "!", "right": 2}));
    assert_eq!(first(&expression, &value), Ok(Vec::new()));
    // By its own name, and by names of places.
    let node = json!({"$id": "Node", "properties": {"next": {"$ref": "Node"}, "first": {"$ref": "Node#/$defs/leaf"}, "last": {"$ref": "#leaf"}},
        "required": ["last"], "$defs": {"leaf": {"$anchor": "leaf", "type": "integer"}}});
    assert_eq!(first(&node, &json!({"next": {"last": 1.0}, "first": 2, "last": 3})), Ok(Vec::new()));
    assert_eq!(first(&node, &json!({"next": {}, "last": 3})).unwrap()[0].place, "/next");
    // As TypeBox writes what leads to itself: parts with names of their own.
    let part = json!({"$id": "T0", "properties": {"nodes": {"type": "array", "items": {"$ref": "T0"}}}, "required": ["nodes"]});
    let typed = json!({"properties": {"tree": part}});
    assert_eq!(first(&typed, &json!({"tree": {"nodes": [{"nodes": []}]}})), Ok(Vec::new()));
    assert_eq!(first(&typed, &json!({"tree": {"nodes": [{}]}})).unwrap()[0].place, "/tree/nodes/0");
    // Dates by the hundred are no patterns.
    let dates: Map<String, Value> =
        (0..100).map(|n| (format!("d{n}"), json!({"format": "date-time"}))).collect();
    assert_eq!(first(&json!({"properties": dates}), &json!({"d1": "today"})), Ok(Vec::new()));
    // Formats say something up to draft 7.
    let mail = |draft: &str| json!({"$schema": draft, "format": "email"});
    assert_eq!(first(&mail("http://json-schema.org/draft-07/schema#"), &json!("x")).unwrap().len(), 1);
    assert_eq!(first(&mail("https://json-schema.org/draft/2020-12/schema"), &json!("x")), Ok(Vec::new()));
    let two = json!({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
    assert_eq!(faults(&two, &json!({"a": 1, "b": 2}), 5, Patterns::Linear).unwrap().len(), 2);
}

#[test]
fn what_would_take_all_memory_is_not_compiled() {
    let one = json!({"properties": {"a": {"pattern": "(\\p{L}{100}){100}"}}});
    assert!(first(&one, &json!({"a": "b"})).is_err());
    let long = json!({"properties": {"a": {"pattern": "\\cA".repeat(100_000)}}});
    assert!(first(&long, &json!({"a": "b"})).unwrap_err().contains("bytes"));
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

/// Values of a few kinds, with few names, so that schemas have something to say of them.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..6).prop_map(Value::from),
        (-4_i32..12).prop_map(|n| Value::from(f64::from(n) / 2.0)),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Schemas of all keywords, with references to the two definitions that [`whole`] adds.
fn schemas() -> impl Strategy<Value = Value> {
    let types =
        prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        types.clone().prop_map(|name| json!({"type": name})),
        prop::collection::vec(types, 1..3).prop_map(|mut names| {
            names.dedup();
            json!({"type": names})
        }),
        values().prop_map(|value| json!({"const": value})),
        prop::collection::vec(values(), 1..4).prop_map(|values| json!({"enum": values})),
        (0_u8..4, 0_u8..4).prop_map(|(a, b)| json!({"minLength": a, "maxItems": b, "minProperties": b})),
        (-2_i32..4).prop_map(|n| json!({"exclusiveMinimum": n, "maximum": f64::from(n) + 2.5})),
        (1_i32..4).prop_map(|n| json!({"multipleOf": f64::from(n) / 2.0})),
        "[ab]{1,2}".prop_map(|text| json!({"pattern": text})),
        Just(json!({"uniqueItems": true})),
        "[abc]".prop_map(|name| json!({"required": [name]})),
        ("[abc]", "[abc]").prop_map(|(name, needs)| json!({"dependentRequired": {name: [needs]}})),
        (0_u8..2).prop_map(|n| json!({"$ref": format!("#/$defs/d{n}")})),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let some = prop::collection::vec(inner.clone(), 1..3);
        let named = prop::collection::btree_map("[abc]", inner.clone(), 1..3);
        let keyword = prop_oneof![
            (
                prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]),
                some.prop_map(Value::from)
            ),
            (
                prop::sample::select(vec!["properties", "dependentSchemas", "patternProperties"]),
                named.prop_map(|named| Value::Object(named.into_iter().collect())),
            ),
            (
                prop::sample::select(vec![
                    "not",
                    "if",
                    "then",
                    "else",
                    "items",
                    "contains",
                    "additionalProperties",
                    "propertyNames",
                    "unevaluatedProperties",
                    "unevaluatedItems",
                ]),
                inner,
            ),
        ];
        prop::collection::vec(keyword, 1..5).prop_map(|keywords| {
            Value::Object(keywords.into_iter().map(|(name, of)| (name.to_owned(), of)).collect())
        })
    })
}

/// A schema with definitions, of which the second may lead to the first.
fn whole() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "integer"})),
        Just(json!({"properties": {"a": true}, "required": ["b"]}))
    ];
    let second = prop_oneof![
        Just(json!({"anyOf": [{"$ref": "#/$defs/d0"}, {"type": "string"}], "unevaluatedProperties": false})),
        Just(json!({"items": {"$ref": "#/$defs/d1"}, "properties": {"c": {"$ref": "#/$defs/d1"}}})),
    ];
    (schemas(), leaf, second).prop_map(|(schema, first, second)| match schema {
        Value::Object(mut members) => {
            members.insert("$defs".into(), json!({"d0": first, "d1": second}));
            Value::Object(members)
        }
        other => other,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_holds_is_what_the_library_says(schema in whole(), value in values()) {
        let theirs = jsonschema::options().offline().build(&schema).unwrap().is_valid(&value);
        for (patterns, most) in [(Patterns::Linear, 1), (Patterns::LookAround, 5)] {
            let ours = faults(&schema, &value, most, patterns);
            prop_assert_eq!(ours.as_ref().map(Vec::is_empty), Ok(theirs), "{:?}", ours);
        }
    }
}
