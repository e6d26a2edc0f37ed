//! Anthropic, Gemini and the other providers.

use super::{Invoice, NONE, check};
use contracts::TokenUsage;
use contracts::price::ServiceTier::{Batch, Priority, Standard};

#[test]
fn anthropic() {
    check(ANTHROPIC);
}

/// What fills 200,000 tokens of cache.
const CACHED: TokenUsage =
    TokenUsage { cache_read: 150_000, cache_write: 40_000, cache_write_1h: 10_000, output: 1_000, ..NONE };

const ANTHROPIC: &[Invoice] = &[
    Invoice {
        what: "cache writes for 5 minutes and an hour, and cache reads",
        provider: "anthropic",
        model: "claude-sonnet-4-5-20250929",
        tier: Standard,
        at: "2025-11-01T00:00:00Z",
        usage: TokenUsage {
            input: 150_000,
            cache_read: 100_000,
            cache_write: 20_000,
            cache_write_1h: 10_000,
            output: 2_000,
            ..NONE
        },
        input: &[(20_000, 3_000_000, 60_000_000_000)],
        cache: &[
            (100_000, 300_000, 30_000_000_000),
            (20_000, 3_750_000, 75_000_000_000),
            (10_000, 6_000_000, 60_000_000_000),
        ],
        output: &[(2_000, 15_000_000, 30_000_000_000)],
        total: "0.255",
    },
    Invoice {
        what: "200,000 input tokens, all of them cached, are not long",
        provider: "anthropic",
        model: "claude-sonnet-4-5",
        tier: Standard,
        at: "2025-11-01T00:00:00Z",
        usage: TokenUsage { input: 200_000, ..CACHED },
        input: &[],
        cache: &[
            (150_000, 300_000, 45_000_000_000),
            (40_000, 3_750_000, 150_000_000_000),
            (10_000, 6_000_000, 60_000_000_000),
        ],
        output: &[(1_000, 15_000_000, 15_000_000_000)],
        total: "0.27",
    },
    Invoice {
        what: "one more makes the whole call long, cache and output included",
        provider: "anthropic",
        model: "claude-sonnet-4-5",
        tier: Standard,
        at: "2025-11-01T00:00:00Z",
        usage: TokenUsage { input: 200_001, ..CACHED },
        input: &[(1, 6_000_000, 6_000_000)],
        cache: &[
            (150_000, 600_000, 90_000_000_000),
            (40_000, 7_500_000, 300_000_000_000),
            (10_000, 12_000_000, 120_000_000_000),
        ],
        output: &[(1_000, 22_500_000, 22_500_000_000)],
        total: "0.532506",
    },
    Invoice {
        what: "batch halves the cache prices too",
        provider: "anthropic",
        model: "claude-opus-4-5-20251101",
        tier: Batch,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 10_000, cache_read: 5_000, cache_write: 2_000, output: 1_000, ..NONE },
        input: &[(3_000, 2_500_000, 7_500_000_000)],
        cache: &[(5_000, 250_000, 1_250_000_000), (2_000, 3_125_000, 6_250_000_000)],
        output: &[(1_000, 12_500_000, 12_500_000_000)],
        total: "0.0275",
    },
    Invoice {
        what: "batch and long context together",
        provider: "anthropic",
        model: "claude-sonnet-4-5",
        tier: Batch,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 300_000, output: 10_000, ..NONE },
        input: &[(300_000, 3_000_000, 900_000_000_000)],
        cache: &[],
        output: &[(10_000, 11_250_000, 112_500_000_000)],
        total: "1.0125",
    },
    Invoice {
        what: "cached tokens reported beside the input, not within it, are billed in full",
        provider: "anthropic",
        model: "claude-haiku-4-5",
        tier: Standard,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 10, cache_read: 2_000, output: 5, ..NONE },
        input: &[],
        cache: &[(2_000, 100_000, 200_000_000)],
        output: &[(5, 5_000_000, 25_000_000)],
        total: "0.000225",
    },
];

#[test]
fn gemini() {
    check(GEMINI);
}

const GEMINI: &[Invoice] = &[
    Invoice {
        what: "200,000 input tokens are not long; thinking is output",
        provider: "gcp.gemini",
        model: "gemini-2.5-pro",
        tier: Standard,
        at: "2025-09-01T00:00:00Z",
        usage: TokenUsage { input: 200_000, output: 8_000, reasoning: 5_000, ..NONE },
        input: &[(200_000, 1_250_000, 250_000_000_000)],
        cache: &[],
        output: &[(3_000, 10_000_000, 30_000_000_000), (5_000, 10_000_000, 50_000_000_000)],
        total: "0.33",
    },
    Invoice {
        what: "one more makes the whole call long",
        provider: "gcp.gemini",
        model: "gemini-2.5-pro",
        tier: Standard,
        at: "2025-09-01T00:00:00Z",
        usage: TokenUsage { input: 200_001, output: 8_000, ..NONE },
        input: &[(200_001, 2_500_000, 500_002_500_000)],
        cache: &[],
        output: &[(8_000, 15_000_000, 120_000_000_000)],
        total: "0.6200025",
    },
    Invoice {
        what: "in a long batch cached tokens keep their price",
        provider: "gcp.gemini",
        model: "gemini-2.5-pro",
        tier: Batch,
        at: "2025-09-01T00:00:00Z",
        usage: TokenUsage { input: 250_000, cache_read: 100_000, output: 1_000, ..NONE },
        input: &[(150_000, 1_250_000, 187_500_000_000)],
        cache: &[(100_000, 250_000, 25_000_000_000)],
        output: &[(1_000, 7_500_000, 7_500_000_000)],
        total: "0.22",
    },
    Invoice {
        what: "priority and long context together",
        provider: "gcp.gemini",
        model: "gemini-3.1-pro-preview",
        tier: Priority,
        at: "2026-05-01T00:00:00Z",
        usage: TokenUsage { input: 250_000, output: 2_000, ..NONE },
        input: &[(250_000, 7_200_000, 1_800_000_000_000)],
        cache: &[],
        output: &[(2_000, 32_400_000, 64_800_000_000)],
        total: "1.8648",
    },
    Invoice {
        what: "audio input",
        provider: "gcp.gemini",
        model: "gemini-2.5-flash",
        tier: Standard,
        at: "2025-09-01T00:00:00Z",
        usage: TokenUsage { input: 10_000, audio_input: 8_000, output: 500, ..NONE },
        input: &[(2_000, 300_000, 600_000_000), (8_000, 1_000_000, 8_000_000_000)],
        cache: &[],
        output: &[(500, 2_500_000, 1_250_000_000)],
        total: "0.00985",
    },
    Invoice {
        what: "Gemini 1.5 is long above 128,000",
        provider: "gcp.gemini",
        model: "gemini-1.5-pro-002",
        tier: Standard,
        at: "2025-01-01T00:00:00Z",
        usage: TokenUsage { input: 128_001, output: 100, ..NONE },
        input: &[(128_001, 2_500_000, 320_002_500_000)],
        cache: &[],
        output: &[(100, 10_000_000, 1_000_000_000)],
        total: "0.3210025",
    },
];

#[test]
fn others() {
    check(OTHERS);
}

const OTHERS: &[Invoice] = &[
    Invoice {
        what: "Perplexity adds a fee per request to the input",
        provider: "perplexity",
        model: "sonar-pro",
        tier: Standard,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 100, output: 400, ..NONE },
        input: &[(1, 6_000_000_000, 6_000_000_000), (100, 3_000_000, 300_000_000)],
        cache: &[],
        output: &[(400, 15_000_000, 6_000_000_000)],
        total: "0.0123",
    },
    Invoice {
        what: "Perplexity bills reasoning below output",
        provider: "perplexity",
        model: "sonar-deep-research",
        tier: Standard,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 50, output: 3_000, reasoning: 1_000, ..NONE },
        input: &[(50, 2_000_000, 100_000_000)],
        cache: &[],
        output: &[(2_000, 8_000_000, 16_000_000_000), (1_000, 3_000_000, 3_000_000_000)],
        total: "0.0191",
    },
    Invoice {
        what: "xAI above 128,000 tokens",
        provider: "x_ai",
        model: "grok-4-0709",
        tier: Standard,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 128_001, cache_read: 28_001, output: 100, ..NONE },
        input: &[(100_000, 6_000_000, 600_000_000_000)],
        cache: &[(28_001, 1_500_000, 42_001_500_000)],
        output: &[(100, 30_000_000, 3_000_000_000)],
        total: "0.6450015",
    },
    Invoice {
        what: "xAI counts reasoning beside the output: it is billed in full",
        provider: "x_ai",
        model: "grok-3-mini",
        tier: Standard,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 100, output: 10, reasoning: 300, ..NONE },
        input: &[(100, 300_000, 30_000_000)],
        cache: &[],
        output: &[(300, 500_000, 150_000_000)],
        total: "0.00018",
    },
    Invoice {
        what: "a regional Bedrock profile costs a tenth more, its cache too",
        provider: "aws.bedrock",
        model: "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        tier: Standard,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 10_000, cache_read: 2_000, cache_write: 3_000, output: 500, ..NONE },
        input: &[(5_000, 1_100_000, 5_500_000_000)],
        cache: &[(2_000, 110_000, 220_000_000), (3_000, 1_375_000, 4_125_000_000)],
        output: &[(500, 5_500_000, 2_750_000_000)],
        total: "0.012595",
    },
    Invoice {
        what: "Mistral in batch",
        provider: "mistral_ai",
        model: "mistral-large-latest",
        tier: Batch,
        at: "2026-01-01T00:00:00Z",
        usage: TokenUsage { input: 4_000, output: 1_000, ..NONE },
        input: &[(4_000, 250_000, 1_000_000_000)],
        cache: &[],
        output: &[(1_000, 750_000, 750_000_000)],
        total: "0.00175",
    },
    Invoice {
        what: "a rate of a fraction of a cent per million tokens is exact",
        provider: "deepseek",
        model: "deepseek-v4-pro",
        tier: Standard,
        at: "2026-06-01T00:00:00Z",
        usage: TokenUsage { input: 1_001, cache_read: 1_000, output: 1, ..NONE },
        input: &[(1, 435_000, 435_000)],
        cache: &[(1_000, 3_625, 3_625_000)],
        output: &[(1, 870_000, 870_000)],
        total: "0.00000493",
    },
];
