//! Ids of tool calls.
//!
//! A client matches a tool's result with its call by id, across turns. Gemini often gives none: then one is made from the
//! response's id and the call's place in it, so that the same answer always brings the same ids.

use std::borrow::Cow;

/// What begins an id that Gemini gave, so that it goes back as it came.
const GEMINI: &str = "gemini-";
/// Longest id that Bedrock takes.
const LONGEST: usize = 64;

/// The id of a Gemini call.
pub(crate) fn of_gemini(given: Option<&str>, response: &str, place: usize) -> String {
    match given {
        Some(id) if !id.is_empty() => format!("{GEMINI}{id}"),
        _ => format!("call_{:016x}_{place}", fnv(response.as_bytes())),
    }
}

/// The id that Gemini itself gave to a call, if it did.
pub(crate) fn to_gemini(id: &str) -> Option<&str> {
    id.strip_prefix(GEMINI)
}

/// The id in the form that Anthropic and Bedrock take: letters, digits, `_` and `-`, at most 64. What differs before differs
/// after: an id that has to change ends in the hash of what it was.
pub(crate) fn portable(id: &str) -> Cow<'_, str> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.len() <= LONGEST && id.bytes().all(is_fit) {
        return Cow::Borrowed(id);
    }
    let kept: String =
        id.bytes().take(LONGEST - 17).map(|b| if is_fit(b) { char::from(b) } else { '_' }).collect();
    Cow::Owned(format!("{kept}-{:016x}", fnv(id.as_bytes())))
}

/// FNV-1a, 64 bits: stable across builds, which a hasher of the standard library does not promise.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_map_back_and_fit() {
        assert_eq!(to_gemini(&of_gemini(Some("abc"), "r", 0)), Some("abc"));
        assert_eq!(of_gemini(None, "r", 1), of_gemini(None, "r", 1));
        assert_ne!(of_gemini(None, "r", 1), of_gemini(None, "s", 1));
        assert_eq!(to_gemini("call_1"), None);
        assert_eq!(portable("toolu_01-x"), "toolu_01-x");
        for odd in ["", "a:b", "é", &"x".repeat(65)] {
            let id = portable(odd).into_owned();
            assert!(id.len() <= 64 && !id.is_empty(), "{id}");
            assert_eq!(portable(&id), id);
        }
        assert_ne!(portable("a:b"), portable("a.b"));
    }
}
