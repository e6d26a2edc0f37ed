//! A reader of Prometheus' text format, for the samples in it and nothing else: comments, types, timestamps and exemplars are
//! passed over. It never fails: a line that is not a sample is not there.
//!
//! The crates that parse the whole format bring a date library and a regular-expression engine, or a parser generator; a dozen
//! gauges need neither.

/// A sample: `name{label="value",…} value`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    labels: &'a str,
    pub(super) value: f64,
}

/// The samples of a text, in order.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(line)
}

fn line(text: &str) -> Option<Line<'_>> {
    let text = text.trim();
    if text.starts_with('#') {
        return None;
    }
    let end = text.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = text.split_at(end);
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(inside) => inside.split_at_checked(closing(inside)?)?,
        None => ("", rest),
    };
    let value = rest.trim_start_matches('}').split_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then_some(Line { name, labels, value })
}

/// Where the brace closes that opened before `inside`: one within a label's value does not.
fn closing(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

impl<'a> Line<'a> {
    /// A label's value as it is written, escapes and all.
    pub(super) fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        loop {
            let (label, after) = rest.split_once('=')?;
            let value = after.trim_start().strip_prefix('"')?;
            let end = quote(value)?;
            if label.trim_matches(|c: char| c == ',' || c.is_whitespace()) == name {
                return value.get(..end);
            }
            rest = value.get(end + 1..)?;
        }
    }
}

/// Where the value's quote ends.
fn quote(value: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sample_has_a_name_labels_and_a_value() {
        let line = line(r#"a:b_c{ x = "1", y="a\"},=b" ,z=""} 3.5e1 1700000000000"#).unwrap();
        assert_eq!((line.name, line.value), ("a:b_c", 35.0));
        assert_eq!(line.label("x"), Some("1"));
        assert_eq!(line.label("y"), Some(r#"a\"},=b"#));
        assert_eq!(line.label("z"), Some(""));
        assert_eq!(line.label("b"), None);
    }

    #[test]
    fn what_is_no_sample_is_not_there() {
        for text in ["", "# TYPE a gauge", "a", "a{", "a{x=\"}", "a{x=\"1\"}", "a one", "{x=\"1\"} 2"] {
            assert_eq!(line(text), None, "{text}");
        }
        let names: Vec<&str> = lines("# HELP a b\na 1\r\n\nb{} 2").map(|line| line.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in any::<String>(), label in any::<String>()) {
            for line in lines(&text) {
                let _ = line.label(&label);
            }
        }

        #[test]
        fn nearly_samples_are_read_without_a_panic(text in r#"[a{}="\\,1 é\n#]{0,60}"#) {
            for line in lines(&text) {
                let _ = line.label("a");
            }
        }

        #[test]
        fn what_is_written_is_read(name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", label in "[a-z_]{1,8}", value in r#"[^"\\\n\r]{0,20}"#, number in -1e12f64..1e12) {
            let text = format!("{name}{{other=\"}}\",{label}x=\"\",{label}=\"{value}\"}} {number}");
            let read: Vec<_> = lines(&text).collect();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!((read[0].name, read[0].value), (name.as_str(), number));
            prop_assume!(label != "other");
            prop_assert_eq!(read[0].label(&label), Some(value.as_str()));
        }
    }
}
