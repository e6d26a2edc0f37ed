//! Patterns and formats of texts: the library's, each compiled once and within bounds.

use super::Patterns;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Bytes of all compiled patterns, and of one.
const MOST_COMPILED: usize = 32 << 20;
const MOST_OF_ONE: usize = 10 << 20;
/// Steps of a pattern that looks around at one text.
const MOST_BACKTRACKS: usize = 100_000;

/// What has been compiled.
#[derive(Debug)]
pub(super) struct Texts<'s> {
    patterns: Patterns,
    each: usize,
    compiled: HashMap<(&'static str, &'s str), Validator>,
}

impl<'s> Texts<'s> {
    /// For a schema of so many patterns.
    pub(super) fn new(patterns: Patterns, many: usize) -> Self {
        let each = (MOST_COMPILED / many.max(1)).min(MOST_OF_ONE);
        Self { patterns, each, compiled: HashMap::new() }
    }

    /// Whether a text is of a `pattern` or a `format`.
    pub(super) fn is_of(&mut self, keyword: &'static str, of: &'s str, text: &Value) -> Result<bool, String> {
        if let Some(compiled) = self.compiled.get(&(keyword, of)) {
            return Ok(compiled.is_valid(text));
        }
        let compiled = self.compile(&json!({keyword: of}))?;
        let is_of = compiled.is_valid(text);
        self.compiled.insert((keyword, of), compiled);
        Ok(is_of)
    }

    /// Steps that looking for a pattern in so many bytes counts for.
    pub(super) fn steps(&self, pattern: &str, bytes: usize) -> u64 {
        let looks_around = self.patterns == Patterns::LookAround
            && (pattern.contains("(?") || pattern.contains('\\') || pattern.contains('+'));
        bytes as u64 / 4 + if looks_around { 1_000 } else { 4 }
    }

    fn compile(&self, schema: &Value) -> Result<Validator, String> {
        let options = jsonschema::options().with_draft(Draft::Draft7).offline().should_validate_formats(true);
        let options = match self.patterns {
            Patterns::Linear => options.with_pattern_options(
                PatternOptions::regex().size_limit(self.each).dfa_size_limit(self.each),
            ),
            Patterns::LookAround => {
                let patterns = PatternOptions::fancy_regex().backtrack_limit(MOST_BACKTRACKS);
                options.with_pattern_options(patterns.size_limit(self.each).dfa_size_limit(self.each))
            }
        };
        options.build(schema).map_err(|error| error.to_string())
    }
}
