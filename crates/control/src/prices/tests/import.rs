//! Both importers, over files that hold every construct once.

use crate::prices::report::Parsed;
use crate::prices::{Format, ImportError, Note, parse};
use contracts::price::{Charge, ModelPrice, PriceBook, RateCard, ServiceTier};
use proptest::prelude::*;

const GENAI: &str = include_str!("fixtures/genai.json");
const LITELLM: &str = include_str!("fixtures/litellm.json");

fn read(text: &str, format: Format) -> Parsed {
    let (told, parsed) = parse(None, text.as_bytes()).unwrap();
    assert_eq!(told, format);
    PriceBook::new("", parsed.prices.clone()).unwrap();
    parsed
}

fn find<'p>(parsed: &'p Parsed, model: &str) -> Vec<&'p ModelPrice> {
    parsed.prices.iter().filter(|price| price.model == model).collect()
}

fn cards(price: &ModelPrice) -> &[RateCard] {
    match &price.charge {
        Charge::Tokens(cards) => cards,
        Charge::Gpu(_) => panic!("{} is priced by GPU", price.label()),
    }
}

/// A card's rates in a line: input, output, cache read, write, write for an hour, reasoning, audio in, audio out, fee.
fn line(card: &RateCard) -> String {
    let r = &card.rates;
    let rates = [
        r.input,
        r.output,
        r.cache_read,
        r.cache_write,
        r.cache_write_1h,
        r.reasoning,
        r.audio_input,
        r.audio_output,
    ];
    let mut texts: Vec<String> =
        rates.iter().map(|rate| rate.map_or("-".to_owned(), |r| r.to_string())).collect();
    texts.extend(r.request.map(|fee| format!("fee {fee}")));
    format!("{} {}: {}", card.tier.as_str(), card.above, texts.join(" "))
}

fn lines(price: &ModelPrice) -> Vec<String> {
    cards(price).iter().map(line).collect()
}

fn reason<'n>(notes: &'n [Note], model: &str, field: &str) -> &'n str {
    let found: Vec<&Note> = notes.iter().filter(|note| note.model == model && note.field == field).collect();
    assert_eq!(found.len(), 1, "notes on {model} {field}: {notes:#?}");
    &found[0].reason
}

#[test]
fn genai_prices_become_entries() {
    let parsed = read(GENAI, Format::GenaiPrices);
    assert_eq!(parsed.models, 16);
    let plain = find(&parsed, "plain")[0];
    assert_eq!(plain.provider, "gcp.gemini");
    assert_eq!(plain.aliases, ["plain-latest"]);
    assert_eq!(plain.prefixes, ["plain"]);
    assert_eq!(lines(plain), ["standard 0: 0.15 0.6 0.075 0.1875 0.3 3 1 20 fee 0.012"]);
    let tiered = find(&parsed, "tiered")[0];
    assert_eq!(
        lines(tiered),
        [
            "standard 0: 1.25 10 0.125 - - - - -",
            "standard 200000: 2.5 15 0.125 - - - - -",
            "standard 1000000: 4 15 0.125 - - - - -"
        ]
    );
    assert_eq!(tiered.prefixes, ["tiered"]);
    let dated = find(&parsed, "dated");
    assert_eq!(dated.iter().map(|price| price.valid_from_text()).collect::<Vec<_>>(), ["", "2025-06-10"]);
    assert_eq!(lines(dated[1]), ["standard 0: 2 8 - - - - - -"]);
    let images = find(&parsed, "images-too")[0];
    assert_eq!(images.aliases, ["/img"]);
    assert_eq!(images.prefixes, ["images-too"]);
    assert_eq!(parsed.prices.len(), 5, "{:#?}", parsed.prices);
}

#[test]
fn what_genai_prices_say_beyond_us_is_reported() {
    let parsed = read(GENAI, Format::GenaiPrices);
    let dropped = |model, field| reason(&parsed.dropped, model, field);
    assert!(dropped("by-the-hour", "prices").contains("hour of the day"));
    assert!(dropped("free", "prices").contains("no price per token"));
    assert!(dropped("too-fine", "input_mtok").contains("0.0000005 is finer"));
    assert!(dropped("negative", "input_mtok").contains("-1 is negative"));
    assert!(dropped("too-dear", "input_mtok").contains("too large"));
    assert!(dropped("a text", "prices").contains("without blanks"));
    assert!(dropped("worded", "input_mtok").contains("not a decimal number"));
    assert!(dropped("odd-tier", "input_mtok").contains("distinct starts"));
    assert!(dropped("twice", "prices").contains("same instant"));
    assert!(dropped("priceless", "prices").contains("no prices"));
    assert!(dropped("", "models").contains("no models"));
    let nameless: Vec<&str> = parsed
        .dropped
        .iter()
        .filter(|note| note.model.is_empty() && note.field != "models")
        .map(|note| note.reason.as_str())
        .collect();
    assert_eq!(
        nameless,
        [
            "the model has no id",
            "\"not an object\" is not an object",
            "the provider has no id",
            "7 is not an object"
        ]
    );
    assert_eq!(parsed.dropped.len(), 15, "{:#?}", parsed.dropped);
    let partial = |model, field| reason(&parsed.partial, model, field);
    assert!(partial("tiered", "match.starts_with").contains("dated snapshots"));
    assert!(partial("images-too", "match.contains").contains("not as every name"));
    assert!(partial("images-too", "match.ends_with").contains("ends so"));
    assert!(partial("images-too", "match.regex").contains("^img-[ab]$"));
    assert!(partial("images-too", "match.and").contains("cannot be expressed"));
    assert!(partial("images-too", "match.likes").contains("not a known operator"));
    assert!(partial("images-too", "output_image_mtok").contains("30 has no unit"));
    assert_eq!(parsed.partial.len(), 7, "{:#?}", parsed.partial);
}

#[test]
fn litellm_prices_become_entries() {
    let parsed = read(LITELLM, Format::Litellm);
    assert_eq!(parsed.models, 18);
    let only = |model: &str| {
        let found = find(&parsed, model);
        assert_eq!(found.len(), 1, "{model}");
        found[0]
    };
    assert_eq!(lines(only("plain")), ["standard 0: 0.15 0.6 0.075 0.1875 0.3 3 1 20 fee 0.005"]);
    assert_eq!(
        lines(only("tiers")),
        [
            "standard 0: 2.5 15 0.25 - - - - -",
            "standard 272000: 5 22.5 0.25 - - - - -",
            "batch 0: 1.25 7.5 0.25 - - - - -",
            "flex 0: 1.25 7.5 0.13 - - - - -",
            "priority 0: 5 30 0.25 - - - - -",
            "priority 272000: 10 45 0.25 - - - - -"
        ]
    );
    assert_eq!(
        lines(only("hour")),
        ["standard 0: 3 15 - 3.75 6 - - -", "standard 200000: 6 15 - 7.5 12 - - -"]
    );
    assert_eq!(lines(only("ranged")), ["standard 0: 1 5 - - - - - -", "standard 32000: 1.8 9 - - - - - -"]);
    assert_eq!(lines(only("hit")), ["standard 0: 0.27 - 0.07 - - - - -"]);
    assert_eq!(lines(only("hits")), ["standard 0: 0.27 - 0.08 - - - - -"]);
    assert_eq!(lines(only("gift")), ["standard 0: 0 0 - - - - - -"]);
    for (model, provider) in [
        ("grok", "x_ai"),
        ("gem", "gcp.vertex_ai"),
        ("us.meta.llama:0", "aws.bedrock"),
        ("ranged", "dashscope"),
        ("hour", "anthropic"),
    ] {
        assert_eq!(only(model).provider, provider);
    }
    assert_eq!(parsed.prices.len(), 10);
}

#[test]
fn what_litellm_says_beyond_us_is_reported() {
    let parsed = read(LITELLM, Format::Litellm);
    let dropped = |model, field| reason(&parsed.dropped, model, field);
    assert!(dropped("sample_spec", "").contains("no model"));
    assert!(dropped("gem", "").contains("already given by \"vertex_ai/gem\", at another price"));
    assert!(dropped("painter", "").contains("no price per token"));
    assert!(dropped("half-painter", "").contains("not by other units"));
    assert!(dropped("noisy", "input_cost_per_token").contains("finer"));
    assert!(dropped("worded", "input_cost_per_token").contains("not a decimal number"));
    assert!(dropped("orphan", "litellm_provider").contains("no litellm_provider"));
    assert!(dropped("flat", "").contains("7 is not an object"));
    assert_eq!(parsed.dropped.len(), 8, "{:#?}", parsed.dropped);
    let partial = |model, field| reason(&parsed.partial, model, field);
    assert!(partial("xai/grok", "search_context_cost_per_query").contains("no unit"));
    assert!(partial("deepseek/hits", "input_cost_per_token_cache_hit").contains("contradicts"));
    assert!(partial("tiers", "batch").contains("long-context"));
    assert!(partial("tiers", "flex").contains("long-context"));
    assert_eq!(partial("painter", "output_cost_per_image"), "0.04 has no unit in the book");
    assert_eq!(partial("half-painter", "output_cost_per_image"), "0.04 has no unit in the book");
    assert_eq!(parsed.partial.len(), 6, "{:#?}", parsed.partial);
}

#[test]
fn a_file_of_another_kind_is_refused() {
    for text in ["", "  ", "provider,model", "7", "\"text\""] {
        assert!(matches!(parse(None, text.as_bytes()), Err(ImportError::UnknownFormat)), "{text}");
    }
    for text in ["[", "{\"a\": ", "{\"a\" 1}", "[1,]", "[] []"] {
        let error = parse(None, text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("the file is not "), "{error}");
    }
    assert!(parse(Some(Format::Litellm), b"[]").is_err());
    assert!(parse(Some(Format::GenaiPrices), b"{}").is_err());
    assert_eq!(parse(None, b"\xEF\xBB\xBF []").unwrap().0, Format::GenaiPrices);
}

#[test]
fn every_service_tier_of_a_book_has_a_base_card() {
    for price in &read(LITELLM, Format::Litellm).prices {
        for tier in ServiceTier::ALL {
            let mut of_tier = cards(price).iter().filter(|card| card.tier == tier).peekable();
            assert!(of_tier.peek().is_none() || of_tier.any(|card| card.above == 0), "{}", price.label());
        }
    }
}

/// JSON of any shape, made of the words that the importers look for.
fn any_json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "id",
        "models",
        "match",
        "or",
        "equals",
        "starts_with",
        "regex",
        "prices",
        "constraint",
        "start_date",
        "base",
        "tiers",
        "start",
        "price",
        "input_mtok",
        "output_mtok",
        "requests_kcount",
        "litellm_provider",
        "tiered_pricing",
        "range",
        "input_cost_per_token",
        "input_cost_per_token_above_200k_tokens_flex",
        "output_cost_per_image",
        "input_cost_per_token_above_99999999999999999999k_tokens",
        "^x-\\\\d{8}$",
        "2025-06-10",
        "9999-99-99",
        "é\\u0000",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<f64>().prop_filter_map("JSON has no such number", |n| n.is_finite().then(|| format!("{n:e}"))),
        any::<i64>().prop_map(|n| n.to_string()),
        "[0-9]{1,30}(\\.[0-9]{1,30})?(e-?[0-9]{1,12})?".prop_map(|n| n.trim_start_matches('0').to_owned()),
        word.clone().prop_map(|w| format!("\"{w}\"")),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        let member = (word.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\": {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..8).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn survives(bytes: &[u8]) {
    for format in [None, Some(Format::GenaiPrices), Some(Format::Litellm)] {
        if let Ok((_, parsed)) = parse(format, bytes) {
            for price in parsed.prices {
                price.validate().unwrap();
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn any_json_is_survived(json in any_json()) {
        survives(json.as_bytes());
        survives(format!("[{{\"id\": \"p\", \"models\": [{{\"id\": \"m\", \"prices\": {json}}}]}}]").as_bytes());
        survives(format!("{{\"m\": {{\"litellm_provider\": \"p\", \"input_cost_per_token\": {json}}}}}").as_bytes());
        survives(format!("{{\"m\": {json}}}").as_bytes());
    }

    #[test]
    fn any_damage_to_a_real_shape_is_survived(at in 0usize..4_000, with in any::<u8>(), genai in any::<bool>()) {
        let mut bytes = if genai { GENAI } else { LITELLM }.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = with;
        survives(&bytes);
        bytes.truncate(at);
        survives(&bytes);
    }
}
