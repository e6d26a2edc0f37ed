//! A question's words, and what each is good for.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A piece of a question.
pub(super) struct Token<'a> {
    /// In lower case, a word as its stem.
    pub(super) text: &'a str,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Number,
    Quote,
    Negation,
    /// A member of a class of words that exclude each other.
    Pole(u8, u8),
    Name,
    Word,
}

const NEGATIONS: [&str; 27] = [
    "not", "no", "never", "without", "cannot", "none", "nor", "neither", "nobody", "nothing", "unable",
    "except", "unless", "dont", "doesnt", "didnt", "cant", "wont", "isnt", "nicht", "kein", "keine", "ohne",
    "pas", "sans", "sin", "nunca",
];

/// Words that tell nothing of what is asked.
const STOP: &str = " a about all also am an and any are as at be been being by can could did do does doing done for from \
    get give had has have having hello help hey hi how i if im in into is it its just kindly know let like look looking may me might my need of on one \
    or our please possible s should so some tell thank thanks that the their them there these they this those to u ur us \
    want wanted was way we were what whats which will wish with would you your yours ";

/// Members of a line exclude each other; stems, as [`stem`] makes them.
const CLASSES: [&str; 62] = [
    "when where who why",
    "enable disable",
    "activate deactivate",
    "increase decrease",
    "raise lower",
    "upgrade downgrade",
    "before after",
    "include exclude",
    "add remove",
    "open close",
    "start stop",
    "buy sell",
    "import export",
    "minimum maximum",
    "min max",
    "cheap expensive",
    "first second third fourth fifth last",
    "old new",
    "on off",
    "up down",
    "allow block",
    "accept reject",
    "approve deny",
    "upload download",
    "send receive",
    "encrypt decrypt",
    "lock unlock",
    "install uninstall",
    "subscribe unsubscribe",
    "login logout",
    "win lose",
    "best worst",
    "more less",
    "higher lower",
    "early late",
    "incoming outgoing",
    "internal external",
    "public private",
    "legal illegal",
    "connect disconnect",
    "mute unmute",
    "hide show",
    "debit credit",
    "borrow lend",
    "domestic international",
    "left right",
    "hot cold",
    "man woman",
    "adult child",
    "hourly daily weekly monthly quarterly yearly",
    "hour day week month quarter year",
    "monday tuesday wednesday thursday friday saturday sunday",
    "january february march april june july august september october november december",
    "morning noon afternoon evening night",
    "red green blue black white yellow",
    "small medium large",
    "iphone android",
    "mac window linux",
    "personal business",
    "monthly annual",
    "arrival departure",
    "parent student teacher",
];

const NUMBERS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];

/// Calls `take` with each piece of a text.
pub(super) fn read(text: &str, mut take: impl FnMut(Token<'_>)) {
    quotes(text, |quoted| take(Token { text: &quoted.trim().to_lowercase(), kind: Kind::Quote }));
    let mut first = true;
    for raw in text.split_whitespace() {
        let word = raw.trim_matches(|c: char| !c.is_alphanumeric());
        if !word.is_empty() {
            pieces(word, |piece, is_number| {
                if is_number {
                    take(Token { text: &plain_number(piece), kind: Kind::Number });
                } else {
                    take_word(piece, first, &mut take);
                }
            });
        }
        first = raw.ends_with(['.', '?', '!', ':', '"']) || (first && word.is_empty());
    }
}

fn take_word(piece: &str, first: bool, take: &mut impl FnMut(Token<'_>)) {
    let lower = piece.to_lowercase().replace(['\'', '’'], "'");
    let denied = lower.ends_with("n't");
    let lower = lower.trim_end_matches("'s").replace('\'', "");
    if denied || NEGATIONS.contains(&lower.as_str()) {
        take(Token { text: &lower, kind: Kind::Negation });
        return;
    }
    if let Some(number) = NUMBERS.iter().skip(2).position(|number| *number == lower) {
        take(Token { text: &(number + 2).to_string(), kind: Kind::Number });
        return;
    }
    let stem = stem(&lower);
    if let Some(&(class, place)) = POLES.get(stem) {
        take(Token { text: stem, kind: Kind::Pole(class, place) });
        return;
    }
    if STOP.contains(&format!(" {lower} ")) {
        return;
    }
    let capitals = piece.chars().filter(|c| c.is_uppercase()).count();
    // The first word of a sentence says nothing by its capital, but by a second one.
    let named = capitals > usize::from(first);
    take(Token { text: stem, kind: if named { Kind::Name } else { Kind::Word } });
}

/// Each class's members by their stems; the first class that has a word keeps it.
static POLES: LazyLock<HashMap<&str, (u8, u8)>> = LazyLock::new(|| {
    let mut poles = HashMap::new();
    for (class, number) in CLASSES.iter().zip(0..) {
        for (member, place) in class.split(' ').zip(0..) {
            poles.entry(stem(member)).or_insert((number, place));
        }
    }
    poles
});

/// Splits a word where letters and digits meet, and at hyphens and the like.
fn pieces(word: &str, mut take: impl FnMut(&str, bool)) {
    let mut rest = word;
    while let Some(start) = rest.find(|c: char| c.is_alphanumeric()) {
        rest = &rest[start..];
        let number = rest.starts_with(|c: char| c.is_ascii_digit());
        let end = if number { number_end(rest) } else { word_end(rest) };
        let (piece, after) = rest.split_at(end);
        // "1st" and "3rd" are their numbers.
        let ordinal =
            number && ["st", "nd", "rd", "th"].iter().any(|end| after.starts_with(end) && after.len() == 2);
        take(piece, number);
        rest = if ordinal { "" } else { after };
    }
}

fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut end = 0;
    while digit(end) || (matches!(bytes.get(end), Some(b'.' | b',')) && digit(end + 1)) {
        end += 1;
    }
    end
}

fn word_end(text: &str) -> usize {
    text.find(|c: char| c.is_ascii_digit() || !(c.is_alphanumeric() || matches!(c, '\'' | '’')))
        .unwrap_or(text.len())
}

/// "1,000.50" as "1000.5", "007" as "7".
fn plain_number(text: &str) -> String {
    let plain = text.replace(',', "");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
}

/// A word without the commonest endings: enough for "orders" and "order", "returning" and "return".
fn stem(word: &str) -> &str {
    let cut = |ending: &str, least: usize| word.strip_suffix(ending).filter(|stem| stem.len() >= least);
    if word.ends_with("ss") || !word.is_ascii() {
        return word;
    }
    let stem = cut("ing", 4)
        .or_else(|| cut("ed", 4))
        .or_else(|| cut("es", 4))
        .or_else(|| cut("s", 3))
        .unwrap_or(word);
    stem.strip_suffix('e').filter(|stem| stem.len() >= 3).unwrap_or(stem)
}

/// Calls `take` with each text between quotation marks.
fn quotes(text: &str, mut take: impl FnMut(&str)) {
    let mut rest = text;
    while let Some(open) = rest.find(['"', '“', '«', '`']) {
        let mark = rest[open..].chars().next().unwrap_or('"');
        let inner = &rest[open + mark.len_utf8()..];
        let close = match mark {
            '“' => '”',
            '«' => '»',
            same => same,
        };
        let Some(end) = inner.find(close) else { return };
        if end > 0 {
            take(&inner[..end]);
        }
        rest = &inner[end + close.len_utf8()..];
    }
}
