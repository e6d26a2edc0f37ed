//! Small models with made-up weights, and the way to the default one.

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use tempfile::TempDir;

/// Tokens that the small models know.
pub(crate) const VOCABULARY: u32 = 60;

const HIDDEN: usize = 20;
const INNER: usize = 36;
const POSITIONS: usize = 34;

/// A family of encoders, by the names that its files use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bert,
    Roberta,
    DistilBert,
}

/// The default embedder's directory. `cargo xtask test` fetches it, so that a test without it fails.
pub(crate) fn default_model() -> PathBuf {
    crate::models::find(None, None).unwrap()
}

/// Numbers between -1 and 1 that look random and are the same on every run.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        // Numerical Recipes' generator; the high bits are the good ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap()) / 32768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A directory with a small model of two layers.
pub(crate) fn tiny(kind: Kind) -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("config.json"), config(kind).to_string()).unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer(VOCABULARY).to_string()).unwrap();
    candle_core::safetensors::save(&weights(kind), dir.path().join("model.safetensors")).unwrap();
    dir
}

/// Its `config.json`.
pub(crate) fn config(kind: Kind) -> Value {
    match kind {
        Kind::DistilBert => json!({
            "model_type": "distilbert", "dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": INNER,
            "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "activation": "gelu",
        }),
        Kind::Bert | Kind::Roberta => json!({
            "model_type": if kind == Kind::Bert { "bert" } else { "roberta" },
            "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": INNER,
            "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "pad_token_id": 1,
            "type_vocab_size": if kind == Kind::Bert { 2 } else { 1 }, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        }),
    }
}

/// A tokenizer of whole words: `w4`, `w5` and so on, up to so many tokens.
pub(crate) fn tokenizer(tokens: u32) -> Value {
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let words = marks.into_iter().chain((4..tokens).map(|n| format!("w{n}")));
    let vocabulary: serde_json::Map<_, _> = words.zip(0..).map(|(word, id)| (word, json!(id))).collect();
    let special = |mark: &str, id: u32| json!({ "id": mark, "ids": [id], "tokens": [mark] });
    let mark = |mark: &str, kind: u32| json!({ "SpecialToken": { "id": mark, "type_id": kind } });
    let text = |text: &str, kind: u32| json!({ "Sequence": { "id": text, "type_id": kind } });
    json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "decoder": null,
        "truncation": { "max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right" },
        "padding": {
            "strategy": { "Fixed": 16 }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        },
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [mark("[CLS]", 0), text("A", 0), mark("[SEP]", 0)],
            "pair": [mark("[CLS]", 0), text("A", 0), mark("[SEP]", 0), text("B", 1), mark("[SEP]", 1)],
            "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) },
        },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]" },
    })
}

/// Its tensors; `RoBERTa`'s carry the prefix that a checkpoint with a head has.
pub(crate) fn weights(kind: Kind) -> HashMap<String, Tensor> {
    let prefix = if kind == Kind::Roberta { "roberta." } else { "" };
    let mut tensors = HashMap::new();
    let mut add = |name: &str, shape: &[usize]| {
        let seed = u32::try_from(tensors.len()).unwrap() + 1;
        let values = noise(shape.iter().product(), seed * 7919);
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        tensors.insert(format!("{prefix}{name}"), tensor);
    };
    add("embeddings.word_embeddings.weight", &[VOCABULARY as usize, HIDDEN]);
    add("embeddings.position_embeddings.weight", &[POSITIONS, HIDDEN]);
    match kind {
        Kind::Bert => add("embeddings.token_type_embeddings.weight", &[2, HIDDEN]),
        Kind::Roberta => add("embeddings.token_type_embeddings.weight", &[1, HIDDEN]),
        Kind::DistilBert => {}
    }
    add("embeddings.LayerNorm.weight", &[HIDDEN]);
    add("embeddings.LayerNorm.bias", &[HIDDEN]);
    // Out × in of each product; 0 in stands for a normalisation.
    let parts: [(&str, &str, usize, usize); 8] = [
        ("attention.self.query", "attention.q_lin", HIDDEN, HIDDEN),
        ("attention.self.key", "attention.k_lin", HIDDEN, HIDDEN),
        ("attention.self.value", "attention.v_lin", HIDDEN, HIDDEN),
        ("attention.output.dense", "attention.out_lin", HIDDEN, HIDDEN),
        ("attention.output.LayerNorm", "sa_layer_norm", HIDDEN, 0),
        ("intermediate.dense", "ffn.lin1", INNER, HIDDEN),
        ("output.dense", "ffn.lin2", HIDDEN, INNER),
        ("output.LayerNorm", "output_layer_norm", HIDDEN, 0),
    ];
    for layer in 0..2 {
        for (bert, distil, out, from) in parts {
            let name = match kind {
                Kind::DistilBert => format!("transformer.layer.{layer}.{distil}"),
                Kind::Bert | Kind::Roberta => format!("encoder.layer.{layer}.{bert}"),
            };
            let shape: &[usize] = if from == 0 { &[out] } else { &[out, from] };
            add(&format!("{name}.weight"), shape);
            add(&format!("{name}.bias"), &[out]);
        }
    }
    tensors
}
