//! Provider names: the public lists call the same provider differently; the book calls it as telemetry does.

/// The provider's name in the book (`gen_ai.provider.name` where the conventions have one).
pub(super) fn provider(listed: &str) -> &str {
    match listed {
        "google" | "gemini" => "gcp.gemini",
        "aws" | "bedrock" | "bedrock_converse" | "bedrock_mantle" => "aws.bedrock",
        "azure" | "azure_text" => "azure.ai.openai",
        "azure_ai" => "azure.ai.inference",
        "mistral" | "text-completion-mistral" => "mistral_ai",
        "codestral" | "text-completion-codestral" => "mistral_ai.codestral",
        "x-ai" | "xai" => "x_ai",
        "moonshotai" | "moonshot" => "moonshot_ai",
        "text-completion-openai" => "openai",
        "cohere_chat" => "cohere",
        "together_ai" => "together",
        "fireworks_ai" | "fireworks_ai-embedding-models" => "fireworks",
        "watsonx" => "ibm.watsonx.ai",
        other if other.starts_with("vertex_ai") => "gcp.vertex_ai",
        other => other,
    }
}
