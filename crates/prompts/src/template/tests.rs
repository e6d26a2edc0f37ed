//! What is refused when it is written, what when it is called, and that no template runs away.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn prompt(contents: &[&str], variables: Value) -> Prompt {
    let messages: Vec<Value> = contents.iter().map(|text| json!({"role": "user", "content": text})).collect();
    let mut spec = json!({"messages": messages});
    if !variables.is_null() {
        spec["variables"] = variables;
    }
    serde_json::from_value(spec).unwrap()
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "tone": {"enum": ["kind", "terse"], "default": "kind"},
            "items": {"type": "array", "items": {"type": "object", "required": ["sku"], "properties": {"n": {"type": "integer"}}}},
        },
        "required": ["name"],
        "additionalProperties": false,
    })
}

fn render(contents: &[&str], variables: Value, given: &Value) -> Result<Vec<String>, RenderError> {
    let compiled = Compiled::new(&prompt(contents, variables)).unwrap();
    Ok(compiled.render(given)?.into_iter().map(|message| message.content).collect())
}

#[test]
fn variables_go_into_templates_as_they_are() {
    let contents = [
        "You are {{ tone }}.\n",
        "Hi <{{ name }}>{% for i in items %} {{ i.sku }}{% endfor %}",
        "Braces: { } stay",
    ];
    let given = json!({"name": "A&B \"c\"", "items": [{"sku": "x"}, {"sku": 7}]});
    let texts = render(&contents, schema(), &given).unwrap();
    assert_eq!(texts, ["You are kind.\n", "Hi <A&B \"c\"> x 7", "Braces: { } stay"]);
}

#[test]
fn values_are_not_templates_themselves() {
    let texts = render(&["{{ name }}"], schema(), &json!({"name": "{{ tone }}{% x %}"})).unwrap();
    assert_eq!(texts, ["{{ tone }}{% x %}"]);
}

#[test]
fn variables_that_do_not_fit_are_named() {
    let cases = [
        (json!({}), "variables.name", "nothing", "a value"),
        (json!(null), "variables.name", "nothing", "a value"),
        (json!({"name": 7}), "variables.name", "7", "string"),
        (json!({"name": "x".repeat(30)}), "variables.name", "\"xxx", "at most 20 characters"),
        (json!({"name": "a", "tone": "loud"}), "variables.tone", "\"loud\"", "one of [\"kind\",\"terse\"]"),
        (json!({"name": "a", "items": [{"sku": 1, "n": "x"}]}), "variables.items[0].n", "\"x\"", "integer"),
        (json!({"name": "a", "items": [{}]}), "variables.items[0].sku", "nothing", "a value"),
        (json!({"name": "a", "age": 3}), "variables.age", "3", "no such variable"),
        (json!([1]), "variables", "[1]", "object"),
    ];
    for (given, path, value, expected) in cases {
        match render(&["{{ name }}"], schema(), &given).unwrap_err() {
            RenderError::Variable(error) => {
                assert_eq!(error.path, path, "{error}");
                assert!(error.value.starts_with(value) && error.expected == expected, "{error}");
            }
            other => panic!("{other}"),
        }
    }
    let error = render(&["x"], Value::Null, &json!({"a": 1})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "variables.a: 1 is not valid, expected no variables, as the prompt has none"
    );
    assert_eq!(render(&["x"], Value::Null, &Value::Null).unwrap(), ["x"]);
}

#[test]
fn what_does_not_parse_is_refused_with_message_and_line() {
    let cases = [
        ("a\nb {{ name }\nc", "line 2", "b {{ name }"),
        ("{% if name %}x", "line 1", "{% if name %}x"),
        ("{% include 'x' %}", "line 1", "include"),
        ("{% import 'x' as y %}", "line 1", "import"),
        ("{% extends 'x' %}", "line 1", "extends"),
        ("a\n{{ nam }}", "line 2 uses `nam`", "{{ nam }}"),
        ("{{ debug() }}", "line 1 uses `debug`", "debug"),
    ];
    for (text, expected, value) in cases {
        let error = Compiled::new(&prompt(&["fine {{ name }}", text], schema())).unwrap_err();
        assert_eq!(error.field, "messages[1].content", "{error}");
        assert!(error.expected.contains(expected) && error.value.contains(value), "{error}");
    }
    let error = Compiled::new(&prompt(&["{{ name }}"], Value::Null)).unwrap_err();
    assert!(error.expected.contains("it has none"), "{error}");
}

#[test]
fn a_schema_that_is_none_is_refused() {
    for bad in [
        json!({"type": "object", "properties": {"a": {"type": "text"}}}),
        json!({"type": "object", "required": 1}),
    ] {
        let error = Compiled::new(&prompt(&["x"], bad)).unwrap_err();
        assert!(error.field.starts_with("variables"), "{error}");
    }
    let remote = json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}});
    assert!(Compiled::new(&prompt(&["x"], remote)).is_err(), "nothing is fetched");
    let look_behind =
        json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "(?<=a)b"}}});
    assert!(Compiled::new(&prompt(&["x"], look_behind)).is_err(), "patterns take linear time");
}

#[test]
fn what_is_optional_and_absent_must_be_asked_for() {
    assert_eq!(
        render(&["{% if items is defined %}{{ items }}{% endif %}."], schema(), &json!({"name": "a"}))
            .unwrap(),
        ["."]
    );
    let error = render(&["fine {{ name }}", "\n{{ items }}"], schema(), &json!({"name": "a"})).unwrap_err();
    assert!(
        matches!(&error, RenderError::Template { field, line: 2, .. } if field == "messages[1].content"),
        "{error:?}"
    );
}

#[test]
fn no_template_runs_away() {
    let endless = [
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
        "{% for a in range(9000) %}{{ 'x' * 100000 }}{% endfor %}",
        "{{ 'x' * 9999999999 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ];
    for text in endless {
        assert!(render(&[text], Value::Null, &Value::Null).is_err(), "{text}");
    }
    let half = "{{ 'x' * 600000 }}";
    assert!(render(&[half], Value::Null, &Value::Null).is_ok());
    assert_eq!(render(&[half, half], Value::Null, &Value::Null), Err(RenderError::TooLong));
}

#[test]
fn no_template_is_too_deep_for_the_stack() {
    let deep = [
        "{{ ".to_owned() + &"(".repeat(30_000) + "name",
        "{{ ".to_owned() + &"not ".repeat(15_000) + "name }}",
        "{{ ".to_owned() + &"-".repeat(30_000) + "1 }}",
        "{{ name".to_owned() + &"|upper".repeat(10_000) + " }}",
        "{{ name".to_owned() + &"~name".repeat(10_000) + " }}",
        "{{ name".to_owned() + &".x".repeat(30_000) + " }}",
        "{{ ".to_owned() + &"name if name else ".repeat(3_000) + "name }}",
        "{% if name %}".repeat(5_000),
        "{% for a in name %}".repeat(2_000) + &"{% endfor %}".repeat(2_000),
        "{{ ".to_owned() + &"[".repeat(30_000) + &"]".repeat(30_000) + " }}",
        "{{ 2".to_owned() + &"**2".repeat(15_000) + " }}",
        "{% if name %}".to_owned() + &"{% elif name %}".repeat(4_000) + "{% endif %}",
        "{% if name %}".to_owned() + &"{% elif name %}".repeat(100) + "{% endif %}",
        "{% if name %}".to_owned() + &"{% else %}{% if name %}".repeat(2_000),
        "{% set a = name %}".repeat(3_000),
        "{% block a %}".repeat(2_000),
        "{% filter upper %}".repeat(2_000),
        "{% macro a() %}".repeat(2_000),
        "{% set a %}".repeat(2_000),
    ];
    // And the longest that fit into a tag.
    let chains = [
        "-",
        "not ",
        "+",
        "name~",
        "1,",
        "name.",
        "2**",
        "name if name else ",
        "name[",
        "name|upper|",
        "name is not ",
    ];
    let fit =
        chains.map(|link| format!("{{{{ {}name }}}}", link.repeat((tags::MOST_TAG_BYTES - 12) / link.len())));
    for text in deep.iter().chain(&fit) {
        if let Ok(compiled) = Compiled::new(&prompt(&[text], schema())) {
            let _ = compiled.render(&json!({"name": "a"}));
        }
    }
}

#[test]
fn no_value_is_too_deep_for_the_stack() {
    let set = |what: &str| format!("{{% set a = {what} %}}").repeat(32);
    let nested = |what: &str| {
        format!("{{% for a in {what} %}}").repeat(50) + "{{ a }}{{ a|tojson }}" + &"{% endfor %}".repeat(50)
    };
    let deep = [
        set("[[[[[[[[a]]]]]]]]") + "{{ a }}{{ a == [a] }}{{ a|tojson }}",
        set("[[[[[[[[a]]]]]]]]|list|list|list|list|list|list|list") + &nested("[[[[[[[[a]]]]]]]]"),
        set("{0:{0:{0:{0:{0:{0:{0:a}}}}}}}") + "{{ a }}{{ a|tojson }}",
        set("[a]|batch(1)|batch(1)|batch(1)|batch(1)|batch(1)|batch(1)|batch(1)") + "{{ a }}",
    ];
    for text in &deep {
        let text = format!("{{% for a in [[1]] %}}{text}{{% endfor %}}");
        let rendered = Compiled::new(&prompt(&[&text], Value::Null)).unwrap().render(&Value::Null);
        assert!(rendered.is_ok(), "{rendered:?}");
    }
    let accumulated =
        "{% set n = namespace(a=[]) %}{% for i in range(9000) %}{% set n.a = [n.a] %}{% endfor %}";
    assert!(Compiled::new(&prompt(&[accumulated], Value::Null)).is_err());
}

proptest! {
    #[test]
    fn no_long_tag_can_hide(parts in prop::collection::vec(prop_oneof![
        Just("{{"), Just("}}"), Just("{%"), Just("%}"), Just("{% raw %}"), Just("{%- endraw +%}"), Just("{#"), Just("#}"),
        Just("\""), Just("'"), Just("\\"), Just("("), Just(")"), Just("{"), Just("}"), Just(" name "), Just("\n"),
        Just("LONG"),
    ], 1..24)) {
        let text = parts.concat().replace("LONG", &"-".repeat(10_000));
        let _ = Compiled::new(&prompt(&[&text], schema()));
    }

    #[test]
    fn any_template_is_compiled_or_refused(text in "[{}%#a|.( )\"'-]{1,40}") {
        if let Ok(compiled) = Compiled::new(&prompt(&[&text], schema())) {
            let _ = compiled.render(&json!({"name": "a"}));
        }
    }

    #[test]
    fn text_comes_through(name in ".{0,20}") {
        let texts = render(&["<{{ name }}>"], schema(), &json!({"name": name})).unwrap();
        prop_assert_eq!(&texts[0], &format!("<{name}>"));
    }
}
