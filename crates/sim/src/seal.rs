//! Signatures on thoughts: made when a model thinks, checked when the client sends them back.
//!
//! They bind a thought, or the tool call that followed one, to its exact content, as the providers' do. All simulators
//! share one secret, so that a conversation can go on at another one.

use crate::sigv4::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const SECRET: &[u8] = b"control-tower-sim/thoughts";
/// Bytes of an HMAC.
const TAG: usize = 32;

/// The signature of a content of this kind.
pub(crate) fn sign(kind: &str, content: &str) -> String {
    STANDARD.encode(tag(kind, content))
}

/// Whether `signature` is the content's own.
pub(crate) fn holds(kind: &str, content: &str, signature: &str) -> bool {
    sign(kind, content) == signature
}

/// A thought that its reader cannot read.
pub(crate) fn encrypt(thought: &str) -> String {
    let mut sealed = tag("redacted", thought).to_vec();
    sealed.extend(thought.bytes().map(|byte| byte ^ 0x5a));
    STANDARD.encode(sealed)
}

/// Whether this is a thought that was encrypted here.
pub(crate) fn is_encrypted(data: &str) -> bool {
    let Ok(sealed) = STANDARD.decode(data) else { return false };
    let Some((given, thought)) = sealed.split_at_checked(TAG) else { return false };
    let thought: Vec<u8> = thought.iter().map(|byte| byte ^ 0x5a).collect();
    String::from_utf8(thought).is_ok_and(|thought| tag("redacted", &thought) == given)
}

/// A tool call as one text, whatever the order of its arguments.
pub(crate) fn call(name: &str, arguments: &Value) -> String {
    let mut text = format!("{name} ");
    canonical(arguments, &mut text);
    text
}

fn tag(kind: &str, content: &str) -> [u8; TAG] {
    hmac(SECRET, format!("{kind}\n{content}").as_bytes())
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in fields {
                text.push_str(name);
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                canonical(value, text);
                text.push(',');
            }
            text.push(']');
        }
        // 3 and 3.0 are one number to JSON.
        Value::Number(number) => text.push_str(&number.as_f64().unwrap_or_default().to_string()),
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signature_holds_for_its_content_only() {
        let signature = sign("thinking", "Let me see.");
        assert!(holds("thinking", "Let me see.", &signature));
        assert!(!holds("thinking", "Let me see!", &signature));
        assert!(!holds("call", "Let me see.", &signature));
        assert!(is_encrypted(&encrypt("Hällo")) && !is_encrypted(&signature) && !is_encrypted("?"));
        assert_eq!(call("f", &json!({"a": 3, "b": ["x"]})), call("f", &json!({"b": ["x"], "a": 3.0})));
        assert_ne!(call("f", &json!({"a": 3})), call("f", &json!({"a": 4})));
    }
}
