//! Golden invoices: calls priced by hand, over the seeded book, to the picodollar.
//!
//! Each line of an invoice is (tokens, picodollars per token, picodollars), worked out by hand from the provider's price
//! list; the test checks the lines' own arithmetic first and then that the book arrives at the same.

mod openai;
mod providers;

use crate::prices::seed_entries;
use contracts::price::{Cost, PriceBook, ServiceTier};
use contracts::{Timestamp, TokenUsage, Usd};

type Line = (u64, u64, u64);

struct Invoice {
    what: &'static str,
    provider: &'static str,
    model: &'static str,
    tier: ServiceTier,
    at: &'static str,
    usage: TokenUsage,
    input: &'static [Line],
    cache: &'static [Line],
    output: &'static [Line],
    total: &'static str,
}

fn check(invoices: &[Invoice]) {
    let book = PriceBook::new("seed", seed_entries().unwrap()).unwrap();
    for invoice in invoices {
        let sum = |lines: &[Line]| {
            for (tokens, rate, amount) in lines {
                assert_eq!(tokens * rate, *amount, "{}: {tokens} at {rate}", invoice.what);
            }
            Usd::from_picos(lines.iter().map(|(_, _, amount)| i128::from(*amount)).sum())
        };
        let expected = Cost {
            input: sum(invoice.input),
            output: sum(invoice.output),
            cache: sum(invoice.cache),
            total: invoice.total.parse().unwrap(),
        };
        assert_eq!(expected.input + expected.output + expected.cache, expected.total, "{}", invoice.what);
        let cost =
            book.cost(invoice.provider, invoice.model, invoice.tier, &invoice.usage, instant(invoice.at));
        assert_eq!(cost, Some(expected), "{}", invoice.what);
    }
}

fn instant(text: &str) -> Timestamp {
    let nanos = text.parse::<jiff::Timestamp>().unwrap().as_nanosecond();
    Timestamp::from_unix_nanos(nanos.try_into().unwrap())
}

const NONE: TokenUsage = TokenUsage {
    input: 0,
    output: 0,
    cache_read: 0,
    cache_write: 0,
    cache_write_1h: 0,
    reasoning: 0,
    audio_input: 0,
    audio_output: 0,
};

/// A price change takes effect at its instant, not a nanosecond before.
#[test]
fn both_sides_of_a_price_change() {
    check(CHANGES);
}

const THOUSAND: TokenUsage = TokenUsage { input: 1_000, output: 1_000, ..NONE };
const TERRA: TokenUsage = TokenUsage { input: 10_000, cache_write: 4_000, output: 1_000, ..NONE };
const LONG: TokenUsage = TokenUsage { input: 300_000, output: 1_000, ..NONE };
const CHAT: TokenUsage = TokenUsage { input: 10_000, cache_read: 4_000, output: 1_000, ..NONE };

/// An invoice in the standard tier.
#[expect(clippy::too_many_arguments, reason = "one for each column of the table below")]
const fn change(
    provider: &'static str,
    model: &'static str,
    at: &'static str,
    usage: TokenUsage,
    input: &'static [Line],
    cache: &'static [Line],
    output: &'static [Line],
    total: &'static str,
) -> Invoice {
    let tier = ServiceTier::Standard;
    Invoice { what: "price change", provider, model, tier, at, usage, input, cache, output, total }
}

const CHANGES: &[Invoice] = &[
    change(
        "openai",
        "o3",
        "2025-06-09T23:59:59.999999999Z",
        THOUSAND,
        &[(1_000, 10_000_000, 10_000_000_000)],
        &[],
        &[(1_000, 40_000_000, 40_000_000_000)],
        "0.05",
    ),
    change(
        "openai",
        "o3",
        "2025-06-10T00:00:00Z",
        THOUSAND,
        &[(1_000, 2_000_000, 2_000_000_000)],
        &[],
        &[(1_000, 8_000_000, 8_000_000_000)],
        "0.01",
    ),
    change(
        "openai",
        "gpt-4o",
        "2024-10-01T23:59:59.999999999Z",
        THOUSAND,
        &[(1_000, 5_000_000, 5_000_000_000)],
        &[],
        &[(1_000, 15_000_000, 15_000_000_000)],
        "0.02",
    ),
    change(
        "openai",
        "gpt-4o",
        "2024-10-02T00:00:00Z",
        THOUSAND,
        &[(1_000, 2_500_000, 2_500_000_000)],
        &[],
        &[(1_000, 10_000_000, 10_000_000_000)],
        "0.0125",
    ),
    change(
        "openai",
        "gpt-5.6-terra",
        "2026-07-29T23:59:59.999999999Z",
        TERRA,
        &[(6_000, 2_500_000, 15_000_000_000)],
        &[(4_000, 3_125_000, 12_500_000_000)],
        &[(1_000, 15_000_000, 15_000_000_000)],
        "0.0425",
    ),
    change(
        "openai",
        "gpt-5.6-terra",
        "2026-07-30T00:00:00Z",
        TERRA,
        &[(6_000, 2_000_000, 12_000_000_000)],
        &[(4_000, 2_500_000, 10_000_000_000)],
        &[(1_000, 12_000_000, 12_000_000_000)],
        "0.034",
    ),
    change(
        "anthropic",
        "claude-sonnet-4-6",
        "2026-03-12T23:59:59.999999999Z",
        LONG,
        &[(300_000, 6_000_000, 1_800_000_000_000)],
        &[],
        &[(1_000, 22_500_000, 22_500_000_000)],
        "1.8225",
    ),
    change(
        "anthropic",
        "claude-sonnet-4-6",
        "2026-03-13T00:00:00Z",
        LONG,
        &[(300_000, 3_000_000, 900_000_000_000)],
        &[],
        &[(1_000, 15_000_000, 15_000_000_000)],
        "0.915",
    ),
    change(
        "deepseek",
        "deepseek-chat",
        "2025-09-05T15:59:59.999999999Z",
        CHAT,
        &[(6_000, 270_000, 1_620_000_000)],
        &[(4_000, 70_000, 280_000_000)],
        &[(1_000, 1_100_000, 1_100_000_000)],
        "0.003",
    ),
    change(
        "deepseek",
        "deepseek-chat",
        "2025-09-05T16:00:00Z",
        CHAT,
        &[(6_000, 560_000, 3_360_000_000)],
        &[(4_000, 70_000, 280_000_000)],
        &[(1_000, 1_680_000, 1_680_000_000)],
        "0.00532",
    ),
];
