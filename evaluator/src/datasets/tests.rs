//! Truth sets by hash, format and origin.

use super::*;
use polars_core::prelude::{Column, DataFrame};
use proptest::prelude::*;
use std::path::PathBuf;

fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn rows(name: &str, text: &str) -> Result<Vec<Row>, DatasetError> {
    let (_dir, path) = file(name, text);
    read(&path)
}

#[test]
fn the_same_rows_are_the_same_version_from_any_format() {
    let lines = concat!(
        r#"{"id":"a","input":"How many?","context":["There are 12.","Or so."],"expected":"12","task":"qa"}"#,
        "\n\n",
        r#"{"task":"qa","expected":"7","context":["Seven\u2028of them."],"input":"And \"now\"?","id":"b"}"#,
        "\n",
    );
    let table = concat!(
        "id,input,context,expected,task\n",
        "a,How many?,\"[\"\"There are 12.\"\",\"\"Or so.\"\"]\",12,qa\n",
        "b,\"And \"\"now\"\"?\",Seven\u{2028}of them.,7,qa\n",
    );
    let from_lines = Version::new(rows("x.jsonl", lines).unwrap()).unwrap();
    let from_table = Version::new(rows("x.csv", table).unwrap()).unwrap();
    assert_eq!(from_lines.rows(), from_table.rows());
    assert_eq!(from_lines.hash(), from_table.hash());

    let column = |name: &str, values: [&str; 2]| Column::new(name.into(), values);
    let mut frame = DataFrame::new(
        2,
        vec![
            column("id", ["a", "b"]),
            column("input", ["How many?", "And \"now\"?"]),
            column("context", [r#"["There are 12.","Or so."]"#, "Seven\u{2028}of them."]),
            Column::new("expected".into(), [12_i64, 7]),
            column("task", ["qa", "qa"]),
        ],
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    polars_io::prelude::ParquetWriter::new(std::fs::File::create(&path).unwrap()).finish(&mut frame).unwrap();
    let from_parquet = Version::new(read(&path).unwrap()).unwrap();
    assert_eq!(from_parquet.hash(), from_lines.hash());

    let exported = rows("y.jsonl", &export(from_lines.rows())).unwrap();
    assert_eq!(Version::new(exported).unwrap().hash(), from_lines.hash(), "what is exported is the version");
}

#[test]
fn texts_that_look_like_json_are_texts() {
    let expected = r#"{"b": 1.0, "a": 2}"#;
    let line =
        serde_json::json!({"id": "[1]", "input": "{\"a\": 1}", "expected": expected, "context": "[1, 2]"});
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let cells = [quoted("[1]"), quoted("{\"a\": 1}"), quoted(expected), quoted(r#"["[1, 2]"]"#)];
    let table = format!("id,input,expected,context\n{}\n", cells.join(","));
    for (name, text) in [("x.jsonl", line.to_string()), ("x.csv", table)] {
        let rows = rows(name, &text).unwrap();
        assert_eq!(
            (rows[0].id.as_str(), rows[0].messages[0].content.as_str()),
            ("[1]", "{\"a\": 1}"),
            "{name}"
        );
        assert_eq!(rows[0].expected.as_deref(), Some(expected), "{name}");
        assert_eq!(rows[0].context[0].text, "[1, 2]", "{name}");
    }
}

#[test]
fn the_hash_is_that_of_the_canonical_bytes() {
    let version = Version::new(rows("x.jsonl", r#"{"input":"Hi"}"#).unwrap()).unwrap();
    assert_eq!(
        export(version.rows()),
        "{\"id\":\"row-000001\",\"messages\":[{\"content\":\"Hi\",\"role\":\"user\"}]}\n"
    );
    // printf '{"id":"row-000001","messages":[{"content":"Hi","role":"user"}]}\n' | sha256sum
    assert_eq!(version.hash(), HASH_OF_HI);
}

const HASH_OF_HI: &str = "7e8f4f8c99e816bb4a8eec083e031b2d8dd26fece066ff4f6a9e36d732068bf4";

#[test]
fn errors_name_place_field_value_and_what_is_expected() {
    let error = |name: &str, text: &str| match rows(name, text).and_then(Version::new) {
        Err(error) => error.to_string(),
        Ok(version) => panic!("{version:?}"),
    };
    let told = error("x.jsonl", "{\"input\":\"a\"}\nnot json\n");
    assert!(
        told.contains("x.jsonl:2") && told.contains("not json") && told.contains("a JSON object"),
        "{told}"
    );
    let told = error("x.jsonl", r#"{"expected":"a"}"#);
    assert!(told.contains(":1: input") && told.contains("a text, or messages"), "{told}");
    let told = error("x.jsonl", r#"{"messages":[{"role":"robot","content":"a"}]}"#);
    assert!(told.contains("messages") && told.contains("robot"), "{told}");
    let told = error("x.jsonl", r#"{"input":"a","params":{"model":"gpt"}}"#);
    assert!(told.contains("params \"model\""), "{told}");
    let told = error("x.jsonl", "{\"id\":\"a\",\"input\":\"1\"}\n{\"id\":\"a\",\"input\":\"2\"}");
    assert!(told.contains("row 2: id \"a\"") && told.contains("row 1 has it already"), "{told}");
    let told = error("x.jsonl", r#"{"input":"a","tags":["x"]}"#);
    assert!(told.contains("tags") && told.contains("a text, a number or a boolean"), "{told}");
    assert!(error("x.txt", "").contains(".parquet"));
    assert!(error("x.jsonl", "").contains("at least one row"));
    assert!(error("x.csv", "input\n\"a\",b\n").contains("CSV"));
    assert!(error("x.parquet", "PAR").contains("Parquet"));
    assert!(DatasetRef::parse("no/slash").unwrap_err().to_string().contains("no/slash"));
    assert!(DatasetRef::parse("a@12").unwrap_err().to_string().contains("hex"));
}

#[test]
fn a_call_becomes_a_row() {
    let call = warehouse::DatasetCall {
        trace_id: "t".repeat(32),
        span_id: "s".repeat(16),
        route: "support".into(),
        system_instructions: r#"[{"type":"text","content":"Be kind."}]"#.into(),
        input_messages:
            r#"[{"role":"user","parts":[{"type":"text","content":"Hi"},{"type":"text","content":"there"}]}]"#
                .into(),
        output_messages: r#"[{"role":"assistant","parts":[{"type":"text","content":"Hello"}]}]"#.into(),
        context: r#"[{"id":"d1","text":"A fact."}]"#.into(),
        ..warehouse::DatasetCall::default()
    };
    let row = from_call(&call, true).unwrap();
    let texts: Vec<_> = row.messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
    assert_eq!(texts, [("system", "Be kind."), ("user", "Hi\nthere")]);
    assert_eq!(row.expected.as_deref(), Some("Hello"));
    assert_eq!(row.context, [Passage { id: "d1".into(), text: "A fact.".into() }]);
    assert_eq!(row.slices["route"], "support");
    assert_eq!(from_call(&call, false).unwrap().expected, None);
    assert_eq!(from_call(&warehouse::DatasetCall { input_messages: String::new(), ..call }, true), None);
}

#[tokio::test]
async fn versions_are_immutable_and_whole() {
    let engine = warehouse::testing::Engine::start().await;
    let warehouse = engine.warehouse("control_tower").await;
    let tenant: contracts::TenantId = "acme".parse().unwrap();
    let at = contracts::Timestamp::from_unix_seconds;
    let make = |n: usize| {
        let lines: String = (0..n)
            .map(|i| serde_json::json!({"input": format!("question {i}")}).to_string() + "\n")
            .collect();
        Version::new(rows("x.jsonl", &lines).unwrap()).unwrap()
    };
    let (first, second) = (make(2_500), make(3));
    let origin = Origin::File { name: "x.jsonl".into() };
    let put = async |version: &Version, when: i64| {
        create(&warehouse, &tenant, "faq", version, &origin, at(when)).await.unwrap()
    };
    assert!(put(&first, 1_800_000_000).await);
    assert!(!put(&first, 1_800_000_001).await, "the same rows again");
    assert!(put(&second, 1_800_000_002).await);
    let find = async |text: &str| resolve(&warehouse, &tenant, &DatasetRef::parse(text).unwrap()).await;
    assert_eq!(find("faq").await.unwrap().version, second.hash());
    let old = find(&format!("faq@{}", &first.hash()[..12])).await.unwrap();
    assert_eq!(load(&warehouse, &tenant, &old).await.unwrap(), first);
    assert_eq!(list(&warehouse, &tenant, None).await.unwrap().len(), 2);
    assert!(find("other").await.unwrap_err().to_string().contains("other"));
    let stranger: contracts::TenantId = "evil".parse().unwrap();
    assert!(list(&warehouse, &stranger, None).await.unwrap().is_empty(), "another tenant sees nothing");
    assert!(!put(&second, 1_800_000_003).await && put(&first, 1_800_000_004).await.eq(&false));
    assert_eq!(
        find("faq").await.unwrap().version,
        first.hash(),
        "an old version can be made the newest again"
    );
}

proptest! {
    #[test]
    fn no_line_of_any_file_breaks_the_reader(text in "\\PC{0,80}") {
        // Whatever it is: rows, or an error that names the place.
        if let Err(error) = rows("x.jsonl", &text) {
            prop_assert!(error.to_string().contains("x.jsonl"));
        }
    }

    #[test]
    fn what_is_exported_reads_back_equal(questions in prop::collection::vec("\\PC{1,40}", 1..8)) {
        let lines: String = questions.iter().map(|q| serde_json::json!({"input": q, "slice": q}).to_string() + "\n").collect();
        let version = Version::new(rows("x.jsonl", &lines).unwrap()).unwrap();
        let again = Version::new(rows("x.jsonl", &export(version.rows())).unwrap()).unwrap();
        prop_assert_eq!(version, again);
    }
}
