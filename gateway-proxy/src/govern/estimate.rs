//! About how many tokens a prompt has, where there is no time to count them.

/// Bytes of text for a token (`OpenAI`'s rule of thumb for English).
const BYTES_A_TOKEN: u64 = 4;
/// Bodies up to so many bytes hold no pictures that would matter.
const SMALL: usize = 8 << 10;
/// As many bytes of base64 without a gap are no text.
const RUN: usize = 2 << 10;
/// Tokens of one picture, recording or document: what a picture costs at `OpenAI` at its highest detail, about.
const TOKENS_A_PIECE: u64 = 1_500;

/// By a body's length; what is not text in it counts by the piece.
pub(crate) fn estimate(body: &[u8]) -> u64 {
    let by_length = |bytes: usize| (bytes as u64).div_ceil(BYTES_A_TOKEN);
    if body.len() <= SMALL {
        return by_length(body.len());
    }
    let (mut pieces, mut embedded) = (0, 0);
    for run in body.split(|byte| !is_base64(*byte)).map(<[u8]>::len).filter(|run| *run >= RUN) {
        pieces += 1;
        embedded += run;
    }
    by_length(body.len() - embedded).saturating_add(pieces * TOKENS_A_PIECE)
}

const fn is_base64(byte: u8) -> bool {
    // JSON may escape the slash.
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_length_and_pictures_by_the_piece() {
        assert_eq!(estimate(b"12345"), 2);
        let text = "so it goes, on and on. ".repeat(2_000);
        assert_eq!(estimate(text.as_bytes()), text.len() as u64 / 4);
        let picture = format!(r#""data:image/png;base64,{}==""#, "iVBORw0KGgo\\/".repeat(100_000));
        let both = format!("{text}{picture}{picture}");
        let tokens = estimate(both.as_bytes());
        assert!((3_000..3_030).contains(&(tokens - text.len() as u64 / 4)), "{tokens}");
    }
}
