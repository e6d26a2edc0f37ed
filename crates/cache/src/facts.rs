//! What two questions have to agree in beside their vectors.
//!
//! A sentence embedder puts "refund within 10 days" and "refund within 14 days" closer together than most paraphrases, for it reads
//! what a text is about rather than what it says. This is the cheap look at what it overlooks: numbers, negations, words that
//! exclude each other, names, quoted texts, and (under [`Guard::Strict`]) any one word put in the place of another in sentences that
//! are otherwise the same. It is lexical and English before all; where words are not set apart by spaces it sees numbers and quotes only.
//! Words are kept as 64-bit hashes, so a question's text need not be kept.

#[cfg(test)]
mod tests;
mod words;

use contracts::policy::cache::Guard;
use serde::{Deserialize, Serialize};
use words::{Kind, Token};

/// What a question says that has to be said by the other, too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Hashes of the numbers, sorted, each as often as it comes.
    numbers: Vec<u64>,
    /// Hashes of the quoted texts, sorted.
    quotes: Vec<u64>,
    /// How often something is denied.
    negations: u8,
    /// Words that exclude others: their class and their place in it, sorted, once each.
    poles: Vec<(u8, u8)>,
    /// Hashes of words that are surely names.
    names: Vec<u64>,
    /// Hashes of the stems of all words that tell anything, sorted, once each.
    words: Vec<u64>,
    /// A hash of these words in their order, where that tells something.
    order: u64,
}

/// In what two questions do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Veto {
    /// A number.
    Number,
    /// A quoted text.
    Quote,
    /// One denies what the other does not.
    Negation,
    /// Words that exclude each other, such as `before` and `after`.
    Opposite,
    /// A name.
    Name,
    /// A word in the place of another, or the same words in another order.
    Word,
}

impl Facts {
    /// Reads a question.
    pub fn of(text: &str) -> Self {
        let mut facts = Self::default();
        words::read(text, |token| facts.take(&token));
        // "What does it mean" and "its meaning" are the same; "from here to there" and back are not.
        let directed = text.split_whitespace().any(|word| matches!(word, "from" | "From" | "than"));
        if directed || facts.words.len() > 2 {
            facts.order =
                facts.words.iter().fold(0, |hash, word| hash.rotate_left(5).wrapping_mul(PRIME) ^ word);
        }
        for sorted in [&mut facts.numbers, &mut facts.quotes, &mut facts.names, &mut facts.words] {
            sorted.sort_unstable();
        }
        facts.poles.sort_unstable();
        facts.poles.dedup();
        facts.names.dedup();
        facts.words.dedup();
        facts
    }

    /// Why the two do not ask the same, as far as `guard` looks; `None` where nothing speaks against it.
    pub fn veto(&self, other: &Self, guard: Guard) -> Option<Veto> {
        if guard == Guard::Off {
            return None;
        }
        let unnamed = |one: &Self, other: &Self| one.names.iter().any(|name| !has(&other.words, *name));
        if self.numbers != other.numbers {
            Some(Veto::Number)
        } else if self.quotes != other.quotes {
            Some(Veto::Quote)
        } else if self.negations % 2 != other.negations % 2 {
            Some(Veto::Negation)
        } else if exclude(&self.poles, &other.poles) {
            Some(Veto::Opposite)
        } else if unnamed(self, other) || unnamed(other, self) {
            Some(Veto::Name)
        } else if guard == Guard::Strict && self.is_edit_of(other) {
            Some(Veto::Word)
        } else {
            None
        }
    }

    /// Memory that it takes beside itself.
    pub(crate) fn bytes(&self) -> usize {
        8 * (self.numbers.len() + self.quotes.len() + self.names.len() + self.words.len())
            + 2 * self.poles.len()
    }

    fn take(&mut self, token: &Token<'_>) {
        let hash = fingerprint(token.text);
        match token.kind {
            Kind::Number => self.numbers.push(hash),
            Kind::Quote => self.quotes.push(hash),
            Kind::Negation => self.negations = self.negations.saturating_add(1),
            Kind::Pole(class, place) => {
                self.poles.push((class, place));
                self.words.push(hash);
            }
            Kind::Name => {
                self.names.push(hash);
                self.words.push(hash);
            }
            Kind::Word => self.words.push(hash),
        }
    }

    /// Whether one becomes the other by putting few words in the place of others, or by their order alone: the frame is the same, so
    /// what differs is what is asked for. A paraphrase changes the frame, too. Few are two, of long questions a third of what stays.
    fn is_edit_of(&self, other: &Self) -> bool {
        let mine = self.words.iter().filter(|word| !has(&other.words, **word)).count();
        let theirs = other.words.iter().filter(|word| !has(&self.words, **word)).count();
        let shared = self.words.len() - mine;
        match mine.max(theirs) {
            0 => self.order != other.order,
            edited => edited <= (shared / 3).max(2) && shared >= edited,
        }
    }
}

fn has(sorted: &[u64], hash: u64) -> bool {
    sorted.binary_search(&hash).is_ok()
}

/// Whether both speak of a class and name different members of it.
fn exclude(one: &[(u8, u8)], other: &[(u8, u8)]) -> bool {
    let of = |poles: &[(u8, u8)], class: u8| -> Vec<u8> {
        poles.iter().filter(|(found, _)| *found == class).map(|(_, place)| *place).collect()
    };
    one.iter().any(|(class, _)| {
        let theirs = of(other, *class);
        !theirs.is_empty() && theirs != of(one, *class)
    })
}

const PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a: the same in every build, for gateways share what they computed.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}
