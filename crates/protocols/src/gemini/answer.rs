//! A whole answer of `generateContent`, and what its chunks have in common with it.

use crate::canonical::{Answer, Part, ToolCall};
use crate::finish::Finish;
use crate::ids::of_gemini;
use crate::problem::{Invalid, Path};
use crate::read::{Fields, document};
use crate::signature::Signature;
use contracts::TokenUsage;
use serde_json::value::RawValue;

pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, Invalid> {
    let chunk = Chunk::read(document(body)?)?;
    let response = chunk.id.clone().unwrap_or_default();
    let mut answer = Answer { id: chunk.id, model: chunk.model, usage: chunk.usage, ..Answer::default() };
    let mut calls = 0;
    for piece in chunk.pieces {
        match piece {
            Piece::Text { text, signature } => match (answer.parts.last_mut(), signature) {
                // The last signature often comes with no text of its own.
                (Some(Part::Text { signature: of_last @ None, .. }), Some(signature)) if text.is_empty() => {
                    *of_last = Some(signature);
                }
                (_, None) if text.is_empty() => {}
                (_, signature) => answer.parts.push(Part::Text { text, cache: None, signature }),
            },
            Piece::Thought { text, signature } => answer.parts.push(Part::Reasoning { text, signature }),
            Piece::Call { id, name, arguments, signature } => {
                let id = of_gemini(id.as_deref(), &response, calls);
                calls += 1;
                answer.parts.push(Part::ToolCall(ToolCall { id, name, arguments, signature, cache: None }));
            }
        }
    }
    answer.finish = match chunk.finish {
        Some(reason) => Some(Finish::from_gemini(&reason, calls > 0)),
        None => chunk.is_blocked.then_some(Finish::Filtered),
    };
    if answer.finish.is_none() && answer.parts.is_empty() {
        return Err(Invalid::missing("candidates", "an array with a candidate"));
    }
    Ok(answer)
}

/// A response, or one chunk of it.
#[derive(Debug)]
pub(super) struct Chunk {
    pub id: Option<String>,
    pub model: Option<String>,
    pub usage: Option<TokenUsage>,
    pub pieces: Vec<Piece>,
    pub finish: Option<String>,
    /// The prompt was refused: there is no candidate.
    pub is_blocked: bool,
}

#[derive(Debug)]
pub(super) enum Piece {
    Text { text: String, signature: Option<Signature> },
    Thought { text: String, signature: Option<Signature> },
    Call { id: Option<String>, name: String, arguments: String, signature: Option<Signature> },
}

impl Chunk {
    pub fn read(raw: &RawValue) -> Result<Self, Invalid> {
        let mut fields = Fields::read(raw, Path::ROOT)?;
        let mut chunk = Self {
            id: fields.string("responseId")?.filter(|id| !id.is_empty()),
            model: fields.string("modelVersion")?,
            usage: fields.raw("usageMetadata").and_then(read_usage),
            pieces: Vec::new(),
            finish: None,
            is_blocked: false,
        };
        if let Some(raw) = fields.raw("promptFeedback") {
            let mut feedback = Fields::read(raw, Path::ROOT.field("promptFeedback"))?;
            chunk.is_blocked = feedback.raw("blockReason").is_some();
        }
        let path = Path::ROOT.field("candidates");
        let path = path.index(0);
        if let Some(first) = fields.items("candidates")?.unwrap_or_default().first() {
            let mut candidate = Fields::read(first, path)?;
            chunk.finish = candidate.string("finishReason")?;
            if let Some(raw) = candidate.raw("content") {
                let path = path.field("content");
                let mut content = Fields::read(raw, path)?;
                let path = path.field("parts");
                for (at, raw) in content.items("parts")?.unwrap_or_default().into_iter().enumerate() {
                    chunk.pieces.extend(read_piece(raw, path.index(at))?);
                }
            }
        }
        Ok(chunk)
    }
}

fn read_piece(raw: &RawValue, path: Path<'_>) -> Result<Option<Piece>, Invalid> {
    let mut part = Fields::read(raw, path)?;
    let signature = part.string("thoughtSignature")?.map(Signature::gemini);
    if let Some(raw) = part.raw("functionCall") {
        let mut call = Fields::read(raw, path.field("functionCall"))?;
        return Ok(Some(Piece::Call {
            id: call.string("id")?,
            name: call.need_string("name")?,
            arguments: call.raw("args").map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned()),
            signature,
        }));
    }
    let text = part.string("text")?;
    if part.boolean("thought")?.unwrap_or_default() {
        return Ok(Some(Piece::Thought { text: text.unwrap_or_default(), signature }));
    }
    // Parts of other kinds (code, pictures) come only of tools and modalities that no request through here asks for.
    Ok((text.is_some() || signature.is_some())
        .then(|| Piece::Text { text: text.unwrap_or_default(), signature }))
}

/// `usageMetadata`. Thoughts are not part of the candidates' tokens, and what tools add not of the prompt's.
fn read_usage(raw: &RawValue) -> Option<TokenUsage> {
    let mut fields = Fields::read(raw, Path::ROOT).ok()?;
    let mut count = |name: &str| fields.count(name).ok().flatten();
    let prompt = count("promptTokenCount");
    let candidates = count("candidatesTokenCount");
    let thoughts = count("thoughtsTokenCount").unwrap_or(0);
    let tools = count("toolUsePromptTokenCount").unwrap_or(0);
    let cached = count("cachedContentTokenCount").unwrap_or(0);
    if prompt.is_none() && candidates.is_none() {
        return None;
    }
    let mut audio = |name: &str| -> u64 {
        let details = fields.items(name).ok().flatten().unwrap_or_default();
        let of_audio = details.into_iter().filter_map(|raw| {
            let mut detail = Fields::read(raw, Path::ROOT).ok()?;
            let is_audio = detail.text("modality").ok()?? == "AUDIO";
            is_audio.then(|| detail.count("tokenCount").ok().flatten()).flatten()
        });
        of_audio.fold(0, u64::saturating_add)
    };
    Some(TokenUsage {
        input: prompt.unwrap_or(0).saturating_add(tools),
        output: candidates.unwrap_or(0).saturating_add(thoughts),
        cache_read: cached,
        reasoning: thoughts,
        audio_input: audio("promptTokensDetails"),
        audio_output: audio("candidatesTokensDetails"),
        ..TokenUsage::default()
    })
}
