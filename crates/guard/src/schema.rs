//! JSON schemas, compiled once.

use contracts::policy::InvalidPolicy;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// Compiles a schema of draft 2020-12. Nothing is fetched, and patterns take linear time.
pub(crate) fn compile(field: &str, schema: &Value) -> Result<Validator, InvalidPolicy> {
    let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
    options.with_pattern_options(PatternOptions::regex()).build(schema).map_err(|error| {
        let shown = error.instance().to_string().chars().take(160).collect();
        let reason: String = error.masked().to_string().chars().take(160).collect();
        InvalidPolicy {
            field: format!("{field}{}", error.instance_path().as_str().replace('/', ".")),
            value: shown,
            expected: format!("a JSON schema, but {reason}"),
        }
    })
}

/// What is wrong with a value, without the value itself.
pub(crate) fn breach(schema: &Validator, value: &Value) -> Option<String> {
    let error = schema.validate(value).err()?;
    let at = error.instance_path().as_str();
    let at = if at.is_empty() { String::new() } else { format!("at {at}: ") };
    // Unlike the message the keyword holds nothing of the value.
    Some(format!("{at}`{}` of the schema does not hold", error.kind().keyword()))
}
