//! A whole answer of Converse, and what its stream has in common with it.

use crate::canonical::{Answer, Part, ToolCall};
use crate::finish::Finish;
use crate::problem::{Invalid, Path};
use crate::read::{Fields, document};
use crate::signature::Signature;
use contracts::TokenUsage;
use serde_json::value::RawValue;

pub(crate) fn read_answer(body: &[u8]) -> Result<Answer, Invalid> {
    let mut fields = Fields::read(document(body)?, Path::ROOT)?;
    let mut answer = Answer {
        finish: fields.text("stopReason")?.map(|reason| Finish::from_bedrock(&reason)),
        usage: fields.raw("usage").and_then(read_usage),
        service_tier: fields.raw("serviceTier").and_then(read_tier),
        ..Answer::default()
    };
    let root = Path::ROOT;
    let path = root.field("output");
    let output: &RawValue = fields.need("output", "an object")?;
    let mut output = Fields::read(output, path)?;
    let path = path.field("message");
    let message: &RawValue = output.need("message", "an object")?;
    let mut message = Fields::read(message, path)?;
    let path = path.field("content");
    for (at, raw) in message.items("content")?.unwrap_or_default().into_iter().enumerate() {
        let path = path.index(at);
        answer.parts.extend(read_block(raw, path)?);
    }
    Ok(answer)
}

fn read_block(raw: &RawValue, path: Path<'_>) -> Result<Option<Part>, Invalid> {
    let mut block = Fields::read(raw, path)?;
    if let Some(text) = block.string("text")? {
        return Ok(Some(Part::text(text)));
    }
    if let Some(raw) = block.raw("toolUse") {
        let mut call = Fields::read(raw, path.field("toolUse"))?;
        return Ok(Some(Part::ToolCall(ToolCall {
            id: call.need_string("toolUseId")?,
            name: call.need_string("name")?,
            arguments: call.raw("input").map_or_else(|| "{}".to_owned(), |raw| raw.get().to_owned()),
            signature: None,
            cache: None,
        })));
    }
    if let Some(raw) = block.raw("reasoningContent") {
        let path = path.field("reasoningContent");
        let mut reasoning = Fields::read(raw, path)?;
        if let Some(data) = reasoning.string("redactedContent")? {
            return Ok(Some(Part::Redacted { data: Signature::anthropic(data) }));
        }
        let text: &RawValue = reasoning.need("reasoningText", "an object")?;
        let mut text = Fields::read(text, path.field("reasoningText"))?;
        let signature = text.string("signature")?.filter(|signature| !signature.is_empty());
        return Ok(Some(Part::Reasoning {
            text: text.string("text")?.unwrap_or_default(),
            signature: signature.map(Signature::anthropic),
        }));
    }
    if let Some(raw) = block.raw("citationsContent") {
        let mut cited = Fields::read(raw, path.field("citationsContent"))?;
        let mut all = String::new();
        for raw in cited.items("content")?.unwrap_or_default() {
            all.push_str(&Fields::read(raw, path)?.string("text")?.unwrap_or_default());
        }
        return Ok(Some(Part::text(all)));
    }
    // Blocks of other kinds come only of what no request through here asks for.
    Ok(None)
}

pub(super) fn read_tier(raw: &RawValue) -> Option<String> {
    Fields::read(raw, Path::ROOT).ok()?.string("type").ok()?
}

/// `usage`: cached tokens are not part of `inputTokens`.
pub(super) fn read_usage(raw: &RawValue) -> Option<TokenUsage> {
    let mut fields = Fields::read(raw, Path::ROOT).ok()?;
    let mut count = |name: &str| fields.count(name).ok().flatten();
    let (input, output) = (count("inputTokens"), count("outputTokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let read = count("cacheReadInputTokens").unwrap_or(0);
    let written = count("cacheWriteInputTokens").unwrap_or(0);
    let details = fields.items("cacheDetails").ok().flatten().unwrap_or_default();
    let of_hour = details.into_iter().filter_map(|raw| {
        let mut detail = Fields::read(raw, Path::ROOT).ok()?;
        let is_hour = detail.text("ttl").ok()?? == "1h";
        is_hour.then(|| detail.count("inputTokens").ok().flatten()).flatten()
    });
    let hour = of_hour.fold(0, u64::saturating_add).min(written);
    Some(TokenUsage {
        input: input.unwrap_or(0).saturating_add(read).saturating_add(written),
        output: output.unwrap_or(0),
        cache_read: read,
        cache_write: written - hour,
        cache_write_1h: hour,
        ..TokenUsage::default()
    })
}
