//! Names of providers as the conventions spell them.

use super::values;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

/// What instrumentations write, in lower case, and what the conventions call it.
const SPELLINGS: &[(&str, &str)] = &[
    ("aws", "aws.bedrock"),
    ("bedrock", "aws.bedrock"),
    ("amazon", "aws.bedrock"),
    ("az.ai.inference", "azure.ai.inference"),
    ("az.ai.openai", "azure.ai.openai"),
    ("azure", "azure.ai.openai"),
    ("azure_openai", "azure.ai.openai"),
    ("gemini", "gcp.gemini"),
    ("google", "gcp.gen_ai"),
    ("google_genai", "gcp.gen_ai"),
    ("google_generativeai", "gcp.gemini"),
    ("mistral", "mistral_ai"),
    ("mistralai", "mistral_ai"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("vertexai", "gcp.vertex_ai"),
    ("watsonx", "ibm.watsonx.ai"),
    ("xai", "x_ai"),
];

/// The provider that a value names: `OpenAI` is `openai`, `vertexai` is `gcp.vertex_ai`; what we do not know stays, in lower
/// case.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a column's parser")]
pub(super) fn parse(value: &Value) -> Option<String> {
    let name = values::text(value).trim().to_lowercase();
    let known = SPELLINGS.iter().find(|(spelling, _)| *spelling == name);
    Some(known.map_or(name, |(_, standard)| (*standard).to_owned()))
}
