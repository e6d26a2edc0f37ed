//! The seed is complete, sane and unambiguous.

use crate::prices::seed_entries;
use contracts::price::{Charge, ModelPrice, PriceBook, Rate, RateCard, Rates, ServiceTier};
use contracts::{Timestamp, TokenUsage};
use std::collections::{BTreeMap, BTreeSet};

fn book() -> PriceBook {
    PriceBook::new("seed", seed_entries().unwrap()).unwrap()
}

fn cards(entry: &ModelPrice) -> &[RateCard] {
    match &entry.charge {
        Charge::Tokens(cards) => cards,
        Charge::Gpu(gpu) => panic!("{} is priced by GPU: {gpu:?}", entry.label()),
    }
}

#[test]
fn there_are_eighty_models_of_eight_providers_and_more() {
    let mut models: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in seed_entries().unwrap() {
        models.entry(entry.provider).or_default().insert(entry.model);
    }
    // The simulated pool is no provider.
    models.remove("sim");
    let count: usize = models.values().map(BTreeSet::len).sum();
    assert!(models.len() >= 12, "{:?}", models.keys());
    assert!(count >= 200, "{count}");
    for (provider, at_least) in [
        ("openai", 40),
        ("anthropic", 15),
        ("gcp.gemini", 15),
        ("mistral_ai", 15),
        ("cohere", 8),
        ("deepseek", 4),
        ("x_ai", 10),
        ("groq", 10),
        ("together", 15),
        ("fireworks", 10),
        ("perplexity", 5),
        ("aws.bedrock", 20),
        ("azure.ai.openai", 15),
        ("gcp.vertex_ai", 10),
    ] {
        let count = models.get(provider).map_or(0, BTreeSet::len);
        assert!(count >= at_least, "{provider} has {count} models");
    }
}

#[test]
fn every_entry_is_valid_and_no_two_overlap() {
    let book = book();
    let mut exact: BTreeSet<(&str, &str)> = BTreeSet::new();
    for entry in book.entries() {
        exact.insert((&entry.provider, &entry.model));
        assert!(entry.source.starts_with("http") || entry.provider == "sim", "{}", entry.label());
        assert!(entry.source.contains(", as of 20"), "{}", entry.label());
    }
    // An alias that is another entry's own name could never apply.
    for entry in book.entries() {
        for alias in &entry.aliases {
            assert!(
                !exact.contains(&(entry.provider.as_str(), alias.as_str())),
                "{alias} of {}",
                entry.label()
            );
        }
    }
}

#[test]
fn rates_are_within_sane_bounds() {
    let dollars = |usd: u64| Rate::from_picos(usd * 1_000_000).unwrap();
    for entry in seed_entries().unwrap() {
        for card in cards(&entry) {
            let label = format!("{} {:?} above {}", entry.label(), card.tier, card.above);
            let Rates {
                input,
                output,
                cache_read,
                cache_write,
                cache_write_1h,
                reasoning,
                audio_input,
                audio_output,
                request,
            } = &card.rates;
            let input = input.unwrap_or_else(|| panic!("{label} has no input rate"));
            assert!(input > Rate::FREE && input <= dollars(160), "{label}: input {input}");
            let output = output.unwrap_or(input);
            assert!(output >= input && output <= dollars(700), "{label}: output {output}");
            assert!(cache_read.unwrap_or(input) <= input, "{label}: cache read dearer than input");
            assert!(cache_write.unwrap_or(input) >= input, "{label}: cache write cheaper than input");
            assert!(
                cache_write_1h.unwrap_or(dollars(160)) >= cache_write.unwrap_or(input),
                "{label}: cache write 1h"
            );
            assert!(reasoning.unwrap_or(output) >= input, "{label}: reasoning");
            assert!(
                audio_input.is_none_or(|rate| rate >= input && rate <= dollars(100)),
                "{label}: audio input"
            );
            assert!(
                audio_output.is_none_or(|rate| rate >= output && rate <= dollars(200)),
                "{label}: audio output"
            );
            assert!(
                request.is_none_or(|fee| fee.picos() > 0 && fee.picos() <= 20_000_000_000),
                "{label}: fee"
            );
        }
    }
}

#[test]
fn tiers_and_lengths_are_ordered() {
    for entry in seed_entries().unwrap() {
        let cards = cards(&entry);
        let find = |tier, above| cards.iter().find(|card| card.tier == tier && card.above == above);
        for card in cards {
            let label = format!("{} {:?} above {}", entry.label(), card.tier, card.above);
            if card.above > 0 {
                let base = find(card.tier, 0).unwrap();
                assert!(
                    card.rates.input > base.rates.input && card.rates.output > base.rates.output,
                    "{label}"
                );
            }
            let Some(standard) = find(ServiceTier::Standard, card.above) else {
                panic!("{label} has no standard")
            };
            let (own, standard) = (card.rates.input, standard.rates.input);
            match card.tier {
                ServiceTier::Standard => {}
                ServiceTier::Batch | ServiceTier::Flex => assert!(own < standard, "{label}"),
                ServiceTier::Priority => assert!(own > standard, "{label}"),
            }
        }
    }
}

#[test]
fn the_recorded_answers_models_have_a_price() {
    let book = book();
    let usage = TokenUsage { input: 1_000_000, output: 1_000_000, ..TokenUsage::default() };
    let at = Timestamp::from_unix_seconds(1_780_000_000);
    for (model, usd) in [
        ("meta-llama/Llama-3.2-1B-Instruct", "0.2"),
        ("meta-llama/Llama-3.2-3B-Instruct", "0.12"),
        ("meta-llama/Llama-3.1-8B-Instruct", "0.36"),
        ("meta-llama/Llama-3.3-70B-Instruct", "1.76"),
        ("Qwen/Qwen2.5-14B-Instruct", "0.6"),
        ("openai/gpt-4o-mini-2024-07-18", "0.75"),
        ("openai/gpt-4.1-2025-04-14", "10"),
        ("openai/o3-medium-2025-04-16", "10"),
        ("google/gemini-2.0-flash-001", "0.5"),
        // A million input tokens are above 200,000: 2.50 and 15.
        ("google/gemini-2.5-pro", "17.5"),
    ] {
        let cost = book.cost("sim", model, ServiceTier::Standard, &usage, at).unwrap();
        assert_eq!(cost.total.to_string(), usd, "{model}");
    }
}

#[test]
fn dated_snapshots_find_their_model() {
    let book = book();
    let at = Timestamp::from_unix_seconds(1_780_000_000);
    for (provider, name, model) in [
        ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai", "gpt-4o-2024-11-20", "gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai", "gpt-5-2025-08-07", "gpt-5"),
        ("openai", "gpt-4-0613", "gpt-4"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"),
        ("gcp.gemini", "gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("cohere", "command-r-08-2024", "command-r"),
        ("x_ai", "grok-4-0709", "grok-4"),
    ] {
        assert_eq!(book.entry(provider, name, at).map(|entry| entry.model.as_str()), Some(model), "{name}");
    }
    assert!(book.entry("openai", "gpt-4o-mini-tts", at).is_none());
}
