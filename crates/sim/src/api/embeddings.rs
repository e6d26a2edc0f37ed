//! `POST /v1/embeddings`: texts that share words get vectors that point the same way.

use super::Texts;
use crate::config::Kind;
use crate::dialect::Dialect;
use crate::error::SimError;
use crate::hash::{self, Sequence};
use crate::log::Usage;
use crate::playback::Rendered;
use crate::sim::{Head, Reply, Sim, Turn, parse};
use crate::tokens;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most texts of one request.
const MOST_INPUTS: usize = 2048;

#[derive(Deserialize)]
struct Request {
    model: String,
    input: Texts,
    #[serde(default)]
    encoding_format: Option<String>,
    #[serde(default)]
    dimensions: Option<u32>,
}

/// Embeds texts.
pub(crate) async fn create(State(sim): State<Sim>, headers: HeaderMap, body: Bytes) -> Response {
    let mut request: Request = match parse(&body) {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let model = std::mem::take(&mut request.model);
    let head = Head {
        dialect: Dialect::OPENAI,
        admitted: sim.authorise(&headers),
        endpoint: "/v1/embeddings",
        model: &model,
        stream: false,
        service_tier: None,
        metadata: None,
    };
    sim.serve(&headers, head, |turn| answer(turn, request)).await
}

fn answer(turn: &mut Turn, request: Request) -> Result<Reply, SimError> {
    if turn.behaviour.kind != Kind::Embedding {
        return Err(SimError::invalid("model", format!("model: {} makes text, not embeddings", turn.model)));
    }
    let texts = request.input.into_texts();
    if texts.is_empty() || texts.len() > MOST_INPUTS || texts.iter().any(String::is_empty) {
        let message = format!("input: expected 1 to {MOST_INPUTS} texts, none of them empty");
        return Err(SimError::invalid("input", message));
    }
    let dimensions = match request.dimensions {
        None => turn.behaviour.dimensions,
        Some(asked) if (1..=turn.behaviour.dimensions).contains(&asked) => asked,
        Some(asked) => {
            let most = turn.behaviour.dimensions;
            let message = format!("dimensions: {asked} is not valid: expected 1 to {most}");
            return Err(SimError::invalid("dimensions", message));
        }
    };
    let base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message = format!("encoding_format: {other:?} is not valid: expected float or base64");
            return Err(SimError::invalid("encoding_format", message));
        }
    };
    let data: Value = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = embed(text, dimensions);
            let embedding = if base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let prompt: u64 = texts.iter().map(|text| tokens::count(text)).sum();
    let usage = Usage { prompt, ..Usage::default() };
    let mut body = json!({"object": "list", "data": data, "model": turn.model});
    if turn.behaviour.reports_usage {
        body["usage"] = json!({"prompt_tokens": prompt, "total_tokens": prompt});
    }
    // The protocol gives embeddings no id; this one is for the log alone.
    let id = turn.id("embd-", 29);
    Ok(Reply { id, usage, finish: "", rendered: Rendered::Whole(Bytes::from(body.to_string())) })
}

/// The sum of a random direction for each word, of length 1.
#[expect(clippy::cast_possible_truncation, reason = "an embedding is made of f32")]
fn embed(text: &str, dimensions: u32) -> Vec<f32> {
    let mut sum = vec![0.0_f64; dimensions as usize];
    for piece in tokens::split(text) {
        let mut numbers = Sequence::new(hash::of(&piece.trim().to_lowercase()));
        for (chunk, bits) in sum.chunks_mut(64).map(|chunk| (chunk, numbers.next())) {
            for (at, value) in chunk.iter_mut().enumerate() {
                *value += if bits >> at & 1 == 1 { 1.0 } else { -1.0 };
            }
        }
    }
    let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    sum.into_iter().map(|x| (x / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_texts_have_near_vectors_of_length_one() {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let one = embed("the refund policy of the shop", 256);
        let near = embed("the refund policy of a shop", 256);
        let far = embed("quantum chromodynamics lattice", 256);
        assert!((dot(&one, &one) - 1.0).abs() < 1e-4);
        assert!(dot(&one, &near) > 0.6, "{}", dot(&one, &near));
        assert!(dot(&one, &far) < 0.3, "{}", dot(&one, &far));
    }
}
