//! English word endings off: enough that `owned`, `owner` and `owns` meet, no more.

/// The stem of a lower-case word. Other languages' words mostly pass unchanged.
pub(crate) fn stem(word: &str) -> String {
    let mut s = word;
    if !s.is_ascii() || s.len() < 4 {
        return s.to_owned();
    }
    let mut add = "";
    if let Some(base) = s.strip_suffix("ies").filter(|b| b.len() > 1) {
        return format!("{base}i");
    } else if let Some(base) = s.strip_suffix("sses") {
        s = base;
        add = "ss";
    } else if let Some(base) = s.strip_suffix('s').filter(|b| !b.ends_with(['s', 'u', 'i'])) {
        s = base;
    }
    for (ending, least) in [
        ("ization", 3),
        ("isation", 3),
        ("ations", 3),
        ("ation", 3),
        ("ingly", 3),
        ("edly", 3),
        ("ment", 4),
        ("ing", 3),
        ("ers", 3),
        ("ed", 3),
        ("er", 4),
        ("or", 4),
        ("ly", 3),
        ("ion", 4),
        ("al", 4),
    ] {
        if let Some(base) = s.strip_suffix(ending).filter(|b| b.len() >= least && has_vowel(b)) {
            s = base;
            let bytes = s.as_bytes();
            if let [.., a, b] = bytes
                && a == b
                && !matches!(b, b'l' | b's' | b'z' | b'e' | b'o')
            {
                s = &s[..s.len() - 1];
            }
            break;
        }
    }
    let s = s.strip_suffix('e').filter(|b| b.len() >= 3).unwrap_or(s);
    match s.strip_suffix('y').filter(|b| b.len() >= 2) {
        Some(base) => format!("{base}i{add}"),
        None => format!("{s}{add}"),
    }
}

fn has_vowel(word: &str) -> bool {
    word.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}
