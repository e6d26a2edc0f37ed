//! Own servers: what an hour of GPUs costs, spread over the tokens that they make in it.

use super::decimal;
use super::model::{Rate, Rates};
use crate::Usd;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A server's price by the hour and how fast it works.
///
/// A token's price is the cost of the time it takes when the server does nothing else:
///
/// `picodollars per token = usd_per_gpu_hour × 10¹² × gpus ÷ (3600 × tokens_per_second)`, rounded half up,
///
/// with the input's and the output's own speed. Both speeds are those of the loaded server (all concurrent requests
/// together), measured or declared, so idle time is not in the price. Audio, reasoning and cached tokens pay the price
/// of their direction, as the formula does not know what a cached prefix saves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuPrice {
    /// USD for one GPU for one hour.
    pub usd_per_gpu_hour: Usd,
    /// How many GPUs serve the model.
    pub gpus: u32,
    /// Input tokens per second, all requests together.
    pub input_tokens_per_second: Throughput,
    /// Output tokens per second, all requests together.
    pub output_tokens_per_second: Throughput,
}

/// Tokens per second, in thousandths; written as a decimal text (`"1850"`, `"42.5"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Throughput(u64);

impl GpuPrice {
    /// The rates that the formula gives; otherwise the value that is out of range and what is expected.
    pub fn rates(&self) -> Result<Rates, String> {
        if self.usd_per_gpu_hour < Usd::ZERO || self.usd_per_gpu_hour > MOST_PER_HOUR {
            return Err(format!(
                "usd_per_gpu_hour {} is out of range: expected 0 to 10000",
                self.usd_per_gpu_hour
            ));
        }
        if !(1..=100_000).contains(&self.gpus) {
            return Err(format!("gpus {} is out of range: expected 1 to 100000", self.gpus));
        }
        let rate = |field: &str, speed: Throughput| {
            self.rate(speed)
                .ok_or_else(|| format!("{field} {speed} is too slow: a token would cost more than 1 USD"))
        };
        Ok(Rates {
            input: Some(rate("input_tokens_per_second", self.input_tokens_per_second)?),
            output: Some(rate("output_tokens_per_second", self.output_tokens_per_second)?),
            ..Rates::default()
        })
    }

    fn rate(&self, speed: Throughput) -> Option<Rate> {
        let per_hour = self.usd_per_gpu_hour.picos().checked_mul(i128::from(self.gpus))?;
        // Thousandths of a token per second: 3600 s × speed ÷ 1000 = 18 ÷ 5 × speed tokens in an hour.
        let (numerator, denominator) = (per_hour.checked_mul(5)?, i128::from(speed.0).checked_mul(18)?);
        let half_up =
            numerator.checked_mul(2)?.checked_add(denominator)?.checked_div(denominator.checked_mul(2)?)?;
        Rate::from_picos(u64::try_from(half_up).ok()?)
    }
}

const MOST_PER_HOUR: Usd = Usd::from_picos(10_000_000_000_000_000);

impl Throughput {
    /// From thousandths of a token per second; `None` for zero.
    pub const fn from_thousandths(thousandths: u64) -> Option<Self> {
        if thousandths == 0 { None } else { Some(Self(thousandths)) }
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{part:03}").trim_end_matches('0'))
    }
}

/// Why a text is not a throughput.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "tokens per second {0:?} is not valid: expected a decimal number above 0 with at most 3 decimals, such as 1850"
)]
pub struct InvalidThroughput(String);

impl TryFrom<String> for Throughput {
    type Error = InvalidThroughput;
    fn try_from(text: String) -> Result<Self, InvalidThroughput> {
        let thousandths = decimal::scaled(&text, 3).ok();
        thousandths
            .and_then(Self::from_thousandths)
            .ok_or_else(|| InvalidThroughput(text.chars().take(64).collect()))
    }
}

impl From<Throughput> for String {
    fn from(speed: Throughput) -> Self {
        speed.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(usd: &str, gpus: u32, input: &str, output: &str) -> GpuPrice {
        GpuPrice {
            usd_per_gpu_hour: usd.parse().unwrap(),
            gpus,
            input_tokens_per_second: input.to_owned().try_into().unwrap(),
            output_tokens_per_second: output.to_owned().try_into().unwrap(),
        }
    }

    #[test]
    fn an_hour_is_spread_over_its_tokens() {
        // 2 × 2.50 USD = 5 × 10¹² picodollars an hour.
        // Input: 8000 × 3600 = 28,800,000 tokens; 5 × 10¹² ÷ 28.8 × 10⁶ = 173,611.1… → 173,611.
        // Output: 2000 × 3600 = 7,200,000 tokens; 5 × 10¹² ÷ 7.2 × 10⁶ = 694,444.4… → 694,444.
        let rates = server("2.5", 2, "8000", "2000").rates().unwrap();
        assert_eq!((rates.input, rates.output), (Rate::from_picos(173_611), Rate::from_picos(694_444)));
    }

    #[test]
    fn half_a_picodollar_is_rounded_up() {
        // 0.0000000018 USD = 1,800 picodollars an hour, 3,600 tokens an hour: half a picodollar a token.
        let rates = server("0.0000000018", 1, "1", "1.001").rates().unwrap();
        assert_eq!(rates.input, Rate::from_picos(1));
        // 1,800 ÷ 3,603.6 is less than half.
        assert_eq!(rates.output, Some(Rate::FREE));
    }

    #[test]
    fn a_fractional_speed_counts() {
        // 3.6 USD an hour, 12.5 tokens/s = 45,000 an hour: 80,000,000 picodollars a token.
        assert_eq!(server("3.6", 1, "12.5", "12.5").rates().unwrap().input, Rate::from_picos(80_000_000));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (price, field) in [
            (server("10001", 1, "1", "1"), "usd_per_gpu_hour"),
            (server("-1", 1, "1", "1"), "usd_per_gpu_hour"),
            (server("1", 0, "1", "1"), "gpus"),
            (server("10000", 100, "0.001", "1"), "input_tokens_per_second"),
        ] {
            let problem = price.rates().unwrap_err();
            assert!(problem.contains(field), "{problem}");
        }
        for text in ["0", "", "-1", "1.0001", "fast"] {
            let error = Throughput::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(error.contains("tokens per second"), "{error}");
        }
    }
}
