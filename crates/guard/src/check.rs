//! The rules of one side, compiled: patterns of all of them in one set, and what judges texts as a whole.

use crate::alive::Alive;
use crate::schema;
use crate::spans::{Masker, Span};
use crate::verdict::{Breach, Decision, Place, Verdict};
use contracts::policy::InvalidPolicy;
use contracts::policy::guardrail::{self, Action};
use jsonschema::Validator;
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::sync::Arc;
use whatlang::Lang;

/// Bytes of one compiled pattern, and of all of one side together. `\w{1,64}` takes 2 MiB, as it knows all scripts.
const MOST_COMPILED: usize = 4 << 20;
const MOST_SET: usize = 16 << 20;
/// Bytes of the cache in which a search builds its automaton.
const CACHE: usize = 8 << 20;

/// Compiled rules.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) list: Vec<Rule>,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) set: RegexSet,
    /// Bytes of the longest match of any pattern, if that is bounded.
    pub(crate) longest: Option<usize>,
    /// What tells which text need not wait; on the way out, if it could be built.
    pub(crate) alive: Option<Alive>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) decision: Decision,
    pub(crate) with: String,
    pub(crate) judges: Judges,
}

/// What a rule looks at beside patterns.
#[derive(Debug)]
pub(crate) enum Judges {
    /// Nothing.
    Patterns,
    /// The characters of all texts.
    Chars(u64),
    /// The bytes of all texts; the second number is what they mean in tokens.
    Bytes(u64, u64),
    /// All texts: one must match.
    Allowed(Box<Regex>),
    /// Each text.
    Schema(Box<Validator>),
    /// Each text.
    Language(Vec<Lang>),
}

impl Judges {
    /// Whether a text can only be judged when all of it is there.
    pub(crate) const fn needs_all(&self) -> bool {
        matches!(self, Self::Allowed(_) | Self::Schema(_) | Self::Language(_))
    }
}

#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    pub(crate) rule: usize,
    /// Its place in its rule.
    number: usize,
}

/// A pattern before it is compiled.
struct Source {
    field: String,
    text: String,
    case_insensitive: bool,
}

impl Rules {
    /// Compiles the rules of one side. Matches on the way out are bounded by `hold_back`.
    pub(crate) fn new(
        side: &str,
        rules: &[guardrail::Rule],
        hold_back: Option<usize>,
    ) -> Result<Self, InvalidPolicy> {
        let mut compiled = Self {
            list: Vec::with_capacity(rules.len()),
            patterns: Vec::new(),
            set: RegexSet::empty(),
            longest: Some(0),
            alive: None,
        };
        let mut texts = Vec::new();
        for (n, rule) in rules.iter().enumerate() {
            let field = format!("{side}[{n}].check");
            let (sources, judges) = understood(&field, &rule.check)?;
            for (number, source) in sources.into_iter().enumerate() {
                let (regex, longest) = source.compile(hold_back)?;
                compiled.longest = compiled.longest.zip(longest).map(|(a, b)| a.max(b));
                texts.push(format!("(?{}:{})", if source.case_insensitive { "i" } else { "" }, source.text));
                compiled.patterns.push(Pattern { regex, rule: n, number });
            }
            let with = if let Action::Mask { with } = &rule.action { with.clone() } else { String::new() };
            let name = rule.name.as_str().into();
            compiled.list.push(Rule { name, decision: Decision::from(&rule.action), with, judges });
        }
        let mut set = RegexSetBuilder::new(&texts);
        compiled.set = set.size_limit(MOST_SET).dfa_size_limit(CACHE).build().map_err(|_| {
            InvalidPolicy::new(side, texts.len(), "patterns that are smaller together, or fewer of them")
        })?;
        compiled.alive = hold_back.and_then(|_| Alive::new(&texts, MOST_SET));
        Ok(compiled)
    }

    /// Whether no pattern matches, and there is nothing but patterns.
    pub(crate) fn pass(&self, text: &str) -> bool {
        self.list.iter().all(|rule| matches!(rule.judges, Judges::Patterns)) && !self.set.is_match(text)
    }

    /// Looks for patterns. Breaches go into the verdict; what is to be masked comes back, in order.
    pub(crate) fn search(&self, text: &str, place: Place, verdict: &mut Verdict) -> Vec<Span> {
        let mut spans = Vec::new();
        if !self.set.is_match(text) {
            return spans;
        }
        for n in &self.set.matches(text) {
            self.breach(n, place, verdict);
            let Pattern { regex, rule, .. } = &self.patterns[n];
            if self.list[*rule].decision == Decision::Mask {
                let span =
                    |found: regex::Match<'_>| Span { start: found.start(), rule: *rule, end: found.end() };
                spans.extend(regex.find_iter(text).map(span));
            }
        }
        spans.sort_unstable();
        spans
    }

    /// Notes that a pattern matches.
    pub(crate) fn breach(&self, pattern: usize, place: Place, verdict: &mut Verdict) {
        let Pattern { rule, number, .. } = &self.patterns[pattern];
        self.note(*rule, place, || format!("pattern {number} matches"), verdict);
    }

    /// Notes a breach, once for each rule and place.
    pub(crate) fn note(&self, rule: usize, place: Place, reason: impl Fn() -> String, verdict: &mut Verdict) {
        let Rule { name, decision, .. } = &self.list[rule];
        if verdict.has_room(*decision) && !verdict.has(name, place) {
            verdict.add(Breach { rule: name.clone(), action: *decision, place, reason: reason() });
        }
    }

    /// The text with its spans masked.
    pub(crate) fn masked(&self, text: &str, spans: &[Span]) -> String {
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        let mask = |rule: usize| self.list[rule].with.as_str();
        let mut masker = Masker { mask, done: &mut done, out: &mut out };
        for span in spans {
            masker.mask(text, *span);
        }
        masker.copy(text, text.len());
        out
    }

    /// What needs all of a text, or all texts: lengths, allowed topics, schemas, languages.
    pub(crate) fn judge(&self, texts: &[&str], verdict: &mut Verdict) {
        for (n, rule) in self.list.iter().enumerate() {
            match &rule.judges {
                Judges::Patterns => {}
                Judges::Chars(most) => {
                    let chars: usize = texts.iter().map(|text| text.chars().count()).sum();
                    if chars as u64 > *most {
                        self.note_limit(n, verdict);
                    }
                }
                Judges::Bytes(most, _) => {
                    if texts.iter().map(|text| text.len()).sum::<usize>() as u64 > *most {
                        self.note_limit(n, verdict);
                    }
                }
                _ => self.judge_all(n, texts, verdict),
            }
        }
    }

    /// As [`Rules::judge`], of one rule that needs all of a text.
    pub(crate) fn judge_all(&self, rule: usize, texts: &[&str], verdict: &mut Verdict) {
        match &self.list[rule].judges {
            Judges::Allowed(regex) if !texts.iter().any(|text| regex.is_match(text)) => {
                self.note(rule, Place::Whole, || "none of the allowed topics occurs".into(), verdict);
            }
            Judges::Schema(schema) => {
                for (at, text) in texts.iter().enumerate() {
                    let wrong = match serde_json::from_str(text) {
                        Ok(value) => schema::breach(schema, &value),
                        Err(_) => Some("it is not JSON".into()),
                    };
                    if let Some(reason) = wrong {
                        self.note(rule, Place::Text(at), || reason.clone(), verdict);
                    }
                }
            }
            Judges::Language(allowed) => {
                for (at, text) in texts.iter().enumerate() {
                    let found = whatlang::detect(text).filter(whatlang::Info::is_reliable);
                    if let Some(lang) = found.map(|info| info.lang()).filter(|lang| !allowed.contains(lang)) {
                        self.note(
                            rule,
                            Place::Text(at),
                            || format!("its language is {}", lang.code()),
                            verdict,
                        );
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes that a rule's limit is exceeded.
    pub(crate) fn note_limit(&self, rule: usize, verdict: &mut Verdict) {
        let reason = || match &self.list[rule].judges {
            Judges::Chars(most) => format!("more than {most} characters"),
            Judges::Bytes(_, tokens) => format!("more than {tokens} tokens, as estimated"),
            _ => String::new(),
        };
        self.note(rule, Place::Whole, reason, verdict);
    }
}

fn understood(field: &str, check: &guardrail::Check) -> Result<(Vec<Source>, Judges), InvalidPolicy> {
    Ok(match check {
        guardrail::Check::Regex(regex) => {
            let source = |(n, text): (usize, &String)| Source {
                field: format!("{field}.regex.patterns[{n}]"),
                text: text.clone(),
                case_insensitive: regex.case_insensitive,
            };
            (regex.patterns.iter().enumerate().map(source).collect(), Judges::Patterns)
        }
        guardrail::Check::MaxChars(most) => (Vec::new(), Judges::Chars(*most)),
        guardrail::Check::MaxTokens(most) => (Vec::new(), Judges::Bytes(most.saturating_mul(4), *most)),
        guardrail::Check::Topics(topics) => {
            let denied =
                (!topics.deny.is_empty()).then(|| words(format!("{field}.topics.deny"), &topics.deny));
            let judges = if topics.allow.is_empty() {
                Judges::Patterns
            } else {
                let (regex, _) = words(format!("{field}.topics.allow"), &topics.allow).compile(None)?;
                Judges::Allowed(Box::new(regex))
            };
            (denied.into_iter().collect(), judges)
        }
        guardrail::Check::JsonSchema(schema) => {
            let schema = schema::compile(&format!("{field}.json_schema"), schema)?;
            (Vec::new(), Judges::Schema(Box::new(schema)))
        }
        guardrail::Check::Language(codes) => {
            let lang = |(n, code): (usize, &String)| {
                let expected = || "a language that can be told: eng, deu, fra, spa, cmn, jpn …";
                Lang::from_code(code)
                    .ok_or_else(|| InvalidPolicy::new(format!("{field}.language[{n}]"), code, expected()))
            };
            (Vec::new(), Judges::Language(codes.iter().enumerate().map(lang).collect::<Result<_, _>>()?))
        }
    })
}

/// One pattern for whole words and phrases.
fn words(field: String, texts: &[String]) -> Source {
    // A boundary only where words have one: not beside a sign, and not in scripts without spaces.
    let boundary = |edge: Option<char>| if edge.is_some_and(is_of_a_word) { r"\b" } else { "" };
    let one = |text: &String| {
        let parts: Vec<String> = text.split_whitespace().map(regex::escape).collect();
        let text = text.trim();
        // Three spaces, as text is wrapped and indented, and no more, so that a match stays bounded.
        format!(
            "{}{}{}",
            boundary(text.chars().next()),
            parts.join(r"\s{1,3}"),
            boundary(text.chars().next_back())
        )
    };
    let text = texts.iter().map(one).collect::<Vec<_>>().join("|");
    Source { field, text, case_insensitive: true }
}

fn is_of_a_word(c: char) -> bool {
    // Thai, Lao, Burmese, Khmer, kana, ideographs.
    let has_no_spaces = matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xF900..=0xFAFF
        | 0x2_0000..=0x3_FFFF);
    (c.is_alphanumeric() || c == '_') && !has_no_spaces
}

impl Source {
    /// The pattern, and the bytes of its longest match if that is bounded.
    fn compile(&self, hold_back: Option<usize>) -> Result<(Regex, Option<usize>), InvalidPolicy> {
        let wrong = |expected: String| InvalidPolicy::new(&self.field, &self.text, expected);
        let mut parser = regex_syntax::ParserBuilder::new();
        let parsed = parser.case_insensitive(self.case_insensitive).build().parse(&self.text);
        let hir = parsed.map_err(|error| {
            // The parser draws the place of the error over several lines; the last says what it is.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            wrong(format!("a regular expression without look-around and back-references ({reason})"))
        })?;
        let (shortest, longest) = (hir.properties().minimum_len(), hir.properties().maximum_len());
        if shortest.is_none_or(|bytes| bytes == 0) {
            return Err(wrong("a pattern that matches something, and not the empty text".into()));
        }
        if let Some(most) = hold_back
            && longest.is_none_or(|bytes| bytes > most)
        {
            let bytes = longest.map_or("without bound".into(), |bytes| format!("{bytes} bytes"));
            let expected = format!(
                "matches of at most {most} bytes of UTF-8 (stream.hold_back), but they may be long {bytes}: write \
                 {{1,40}} for +, and [0-9] for \\d where only ASCII is meant"
            );
            return Err(wrong(expected));
        }
        let mut builder = RegexBuilder::new(&self.text);
        builder.case_insensitive(self.case_insensitive).size_limit(MOST_COMPILED).dfa_size_limit(CACHE);
        let too_large = |_| wrong(format!("a pattern of at most {MOST_COMPILED} bytes when compiled"));
        Ok((builder.build().map_err(too_large)?, longest))
    }
}
