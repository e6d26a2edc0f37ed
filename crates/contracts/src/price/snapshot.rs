//! Dated snapshots: which ends of a model's name are a date or version, and not another model.

/// Whether `rest` is what providers append to a model's name for a dated snapshot of it.
///
/// ```text
/// rest    = separator date [version] [revision]
/// separator = "-" | "@"
/// date    = YYYY-MM-DD | YYYYMMDD | YYMMDD | MM-YYYY | YYYY-MM | MM-DD | MMDD | YYMM | NNN
/// version = "-v" digit+          (Bedrock: claude-3-haiku-20240307-v1:0)
/// revision = ":" digit+
/// ```
///
/// Years run from 2019 to 2039, months from 01 to 12, days from 01 to 31; `NNN` are three digits (Gemini's `-001`). Anything
/// else (`-mini`, `-8b`, `-preview`) names another model, which has a price of its own or none.
pub fn snapshot_suffix(rest: &str) -> bool {
    let Some(body) = rest.strip_prefix(['-', '@']) else { return false };
    let body = match body.rsplit_once(':') {
        Some((head, revision)) if is_digits(revision) => head,
        Some(_) => return false,
        None => body,
    };
    let body = match body.rsplit_once("-v") {
        Some((head, version)) if is_digits(version) => head,
        Some(_) => return false,
        None => body,
    };
    is_date(body)
}

/// The places where `model` could be cut into a name and a snapshot's date, the longest name first.
pub(super) fn cuts(model: &str) -> impl Iterator<Item = &str> {
    // The longest suffix of the grammar is far below 32 bytes; what is before it cannot begin a date.
    let start = model.len().saturating_sub(32);
    let bytes = model.as_bytes();
    (start.max(1)..model.len())
        .rev()
        .filter(move |&at| matches!(bytes[at], b'-' | b'@'))
        .filter_map(move |at| model.split_at_checked(at))
        .filter(|(_, rest)| snapshot_suffix(rest))
        .map(|(name, _)| name)
}

fn is_digits(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    let mut parts = [""; 3];
    let mut count = 0;
    for part in text.split('-') {
        if count == 3 || part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        parts[count] = part;
        count += 1;
    }
    match (count, parts[0].len(), parts[1].len(), parts[2].len()) {
        (1, 3, ..) => true,
        (1, 4, ..) => (month(&text[..2]) && day(&text[2..])) || (short_year(&text[..2]) && month(&text[2..])),
        (1, 6, ..) => short_year(&text[..2]) && month(&text[2..4]) && day(&text[4..]),
        (1, 8, ..) => year(&text[..4]) && month(&text[4..6]) && day(&text[6..]),
        (2, 2, 2, _) => month(parts[0]) && day(parts[1]),
        (2, 2, 4, _) => month(parts[0]) && year(parts[1]),
        (2, 4, 2, _) => year(parts[0]) && month(parts[1]),
        (3, 4, 2, 2) => year(parts[0]) && month(parts[1]) && day(parts[2]),
        _ => false,
    }
}

fn within(digits: &str, low: u32, high: u32) -> bool {
    digits.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number))
}

fn year(digits: &str) -> bool {
    within(digits, 2019, 2039)
}

fn short_year(digits: &str) -> bool {
    within(digits, 19, 39)
}

fn month(digits: &str) -> bool {
    within(digits, 1, 12)
}

fn day(digits: &str) -> bool {
    within(digits, 1, 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_and_versions_are_snapshots() {
        for rest in [
            "-2024-07-18",
            "-20250514",
            "@20250514",
            "-0613",
            "-2411",
            "-250115",
            "-08-2024",
            "-05-20",
            "-2025-04",
            "-001",
            "-20240307-v1:0",
            "-20241022-v2:0",
        ] {
            assert!(snapshot_suffix(rest), "{rest}");
        }
    }

    #[test]
    fn other_models_are_not() {
        for rest in [
            "",
            "-",
            "-mini",
            "-8b",
            "-preview",
            "-latest",
            "-32k",
            "-1",
            "-2024-13-01",
            "-2024-07-32",
            "-9999",
            "-0000",
            "-2024-07-18-extra",
            "2024-07-18",
            "-20240718x",
            "-2024_07_18",
            "-v1:0",
            "-1106-preview",
            "-70B-0101x",
            "-１２３",
            "-1-2-3-4",
        ] {
            assert!(!snapshot_suffix(rest), "{rest}");
        }
    }

    #[test]
    fn cuts_come_longest_name_first() {
        assert_eq!(cuts("command-r-08-2024").collect::<Vec<_>>(), ["command-r"]);
        assert_eq!(cuts("gpt-4-2024-04-09").collect::<Vec<_>>(), ["gpt-4-2024", "gpt-4"]);
        assert!(cuts("gpt-4o-mini").next().is_none());
        assert!(cuts("").next().is_none());
    }

    proptest! {
        #[test]
        fn never_panics(model in "\\PC{0,60}") {
            for name in cuts(&model) {
                prop_assert!(model.starts_with(name));
            }
        }
    }
}
