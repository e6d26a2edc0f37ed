//! Provider names: public price lists, SDKs and older conventions call the same provider differently.

/// The provider's name in the book: as in `gen_ai.provider.name` where the conventions have one. A name that is not known
/// to be another spelling stays as it is.
pub fn canonical_provider(listed: &str) -> &str {
    match listed {
        "google" | "gemini" | "google_genai" | "gcp.gen_ai" => "gcp.gemini",
        "aws" | "bedrock" | "aws_bedrock" | "bedrock_converse" | "bedrock_mantle" => "aws.bedrock",
        "azure" | "azure_text" | "azure_openai" | "az.ai.openai" => "azure.ai.openai",
        "azure_ai" | "az.ai.inference" => "azure.ai.inference",
        "mistral" | "mistralai" | "text-completion-mistral" => "mistral_ai",
        "codestral" | "text-completion-codestral" => "mistral_ai.codestral",
        "x-ai" | "xai" => "x_ai",
        "moonshotai" | "moonshot" => "moonshot_ai",
        "text-completion-openai" => "openai",
        "cohere_chat" => "cohere",
        "together_ai" => "together",
        "fireworks_ai" | "fireworks_ai-embedding-models" => "fireworks",
        "watsonx" | "ibm" => "ibm.watsonx.ai",
        other if other.starts_with("vertex_ai") || other == "vertexai" => "gcp.vertex_ai",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_name_stays() {
        for listed in [
            "google",
            "aws",
            "azure",
            "azure_ai",
            "mistral",
            "xai",
            "moonshot",
            "together_ai",
            "vertex_ai-x",
            "own-1",
        ] {
            let canonical = canonical_provider(listed);
            assert_eq!(canonical_provider(canonical), canonical, "{listed}");
        }
        assert_eq!(canonical_provider("xai"), "x_ai");
        assert_eq!(canonical_provider("own-1"), "own-1");
    }
}
