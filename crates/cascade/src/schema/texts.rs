//! Patterns and formats of texts: the library's, each compiled once and within bounds.

use super::Patterns;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Bytes of a compiled pattern: of one that is looked for in no time, and of any. Where a pattern's states are many, each byte of a text
/// may be held to each of them.
const FEW_STATES: usize = 64 << 10;
const MOST_STATES: usize = 1 << 20;
/// Steps of a pattern that looks around at one text.
const MOST_BACKTRACKS: usize = 50_000;

/// What has been compiled.
#[derive(Debug)]
pub(super) struct Texts {
    patterns: Patterns,
    /// By keyword, and the place of the pattern or the name in the schema.
    compiled: HashMap<(&'static str, *const u8), Compiled>,
}

#[derive(Debug)]
struct Compiled {
    validator: Validator,
    is_large: bool,
}

impl Texts {
    pub(super) fn new(patterns: Patterns) -> Self {
        Self { patterns, compiled: HashMap::new() }
    }

    /// Steps that compiling a `pattern` or a `format` counts for.
    pub(super) fn compiling(&self, keyword: &'static str, of: &str) -> u64 {
        if self.compiled.contains_key(&(keyword, of.as_ptr())) { 0 } else { 10_000 }
    }

    /// Compiles it, unless it is.
    pub(super) fn compile(&mut self, keyword: &'static str, of: &str) -> Result<(), String> {
        let at = (keyword, of.as_ptr());
        if self.compiled.contains_key(&at) {
            return Ok(());
        }
        let schema = json!({keyword: of});
        let compiled = match self.build(&schema, FEW_STATES) {
            Ok(validator) => Compiled { validator, is_large: false },
            Err(_) => Compiled { validator: self.build(&schema, MOST_STATES)?, is_large: true },
        };
        self.compiled.insert(at, compiled);
        Ok(())
    }

    /// Steps that looking at so many bytes counts for, once it is compiled.
    pub(super) fn steps(&self, keyword: &'static str, of: &str, bytes: usize) -> u64 {
        let is_large = self.compiled.get(&(keyword, of.as_ptr())).is_some_and(|compiled| compiled.is_large);
        let looks_around = self.patterns == Patterns::LookAround && looks_around(of);
        let each = if is_large { 256 } else { 8 };
        4 + bytes as u64 * each + if looks_around { 10_000 } else { 0 }
    }

    /// Whether a text is of a `pattern` or a `format` that is compiled.
    pub(super) fn is_of(&self, keyword: &'static str, of: &str, text: &Value) -> bool {
        let compiled = self.compiled.get(&(keyword, of.as_ptr()));
        compiled.is_none_or(|compiled| compiled.validator.is_valid(text))
    }

    fn build(&self, schema: &Value, most: usize) -> Result<Validator, String> {
        let options = jsonschema::options().with_draft(Draft::Draft7).offline().should_validate_formats(true);
        let options = match self.patterns {
            Patterns::Linear => options
                .with_pattern_options(PatternOptions::regex().size_limit(most).dfa_size_limit(MOST_STATES)),
            Patterns::LookAround => {
                let patterns = PatternOptions::fancy_regex().backtrack_limit(MOST_BACKTRACKS);
                options.with_pattern_options(patterns.size_limit(most).dfa_size_limit(MOST_STATES))
            }
        };
        options.build(schema).map_err(|error| error.to_string())
    }
}

/// Whether a pattern cannot be looked for in linear time: it looks around, refers back or does not give back.
fn looks_around(pattern: &str) -> bool {
    let refers_back = |pair: &[u8]| pair[0] == b'\\' && (pair[1] == b'k' || (b'1'..=b'9').contains(&pair[1]));
    ["(?=", "(?!", "(?<", "(?>", "(?(", "++", "*+", "?+", "}+"].iter().any(|what| pattern.contains(what))
        || pattern.as_bytes().windows(2).any(refers_back)
}
