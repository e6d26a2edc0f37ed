//! The simulator's own tokenizer: texts split into pieces that join back to the text exactly.
//!
//! A piece is the white space before a word with up to six letters or digits of it (two beyond ASCII), or one other
//! character. About as many pieces as a real tokenizer makes of English, and the same for everyone who counts.

/// The pieces of `text`.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut pieces = Vec::with_capacity(text.len() / 4 + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(first_piece(rest));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// How many pieces `text` has.
pub(crate) fn count(text: &str) -> u64 {
    let (mut rest, mut count) = (text, 0);
    while !rest.is_empty() {
        rest = rest.split_at(first_piece(rest)).1;
        count += 1;
    }
    count
}

/// `text` in `count` parts of about as many characters each: for texts whose tokens were counted by others. Fewer when
/// the text has fewer characters, one when `count` is 0.
pub(crate) fn portions(text: &str, count: u64) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let count = usize::try_from(count).unwrap_or(usize::MAX).clamp(1, letters.len().max(1));
    let bounds = |index: usize| index * letters.len() / count;
    (0..count)
        .map(|index| letters.get(bounds(index)..bounds(index + 1)).unwrap_or_default().iter().collect())
        .collect()
}

/// Length in bytes of the first piece of a text that is not empty.
fn first_piece(text: &str) -> usize {
    let mut weight = 0;
    for (at, letter) in text.char_indices() {
        let in_word = weight > 0;
        if letter.is_alphanumeric() {
            weight += if letter.is_ascii() { 1 } else { 3 };
            if weight > 6 {
                return at;
            }
        } else if in_word {
            return at;
        } else if !letter.is_whitespace() {
            return at + letter.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_keep_the_space_before_them() {
        assert_eq!(
            split("The answer, briefly: 42."),
            ["The", " answer", ",", " briefl", "y", ":", " 42", "."]
        );
    }

    proptest! {
        #[test]
        fn portions_join_to_the_text_and_are_as_many_as_asked_for(text in "\\PC{1,80}", count in 1u64..100) {
            let portions = portions(&text, count);
            prop_assert_eq!(portions.concat(), text.clone());
            prop_assert_eq!(portions.len() as u64, count.min(text.chars().count() as u64));
        }

        #[test]
        fn pieces_join_to_the_text_and_none_is_empty(text in "\\PC{0,80}|[ a-zé漢\n,.]{0,80}") {
            let pieces = split(&text);
            prop_assert_eq!(pieces.concat(), text.clone());
            prop_assert!(pieces.iter().all(|p| !p.is_empty()));
            prop_assert_eq!(pieces.len() as u64, count(&text));
        }
    }
}
