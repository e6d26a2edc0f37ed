//! Money: integer picodollars (10⁻¹² USD). No float touches it.
//!
//! A price of `$0.15` per million tokens is exactly 150,000 picodollars a token, so a sum of costs is exact, and the same
//! number is a `Decimal(38,12)` in ClickHouse.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::str::FromStr;

const PICO: i128 = 1_000_000_000_000;
const PICO_64: u64 = 1_000_000_000_000;
const DECIMALS: usize = 12;

/// An amount of US dollars, exact to the picodollar. Serialises as a decimal string (`"0.000123"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Usd(i128);

/// Why a text is not an amount of dollars.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "amount {0:?} is not valid: expected a decimal number of US dollars with at most 12 decimals, such as 0.000123"
)]
pub struct InvalidUsd(String);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From picodollars (10⁻¹² USD).
    pub const fn from_picos(picos: i128) -> Self {
        Self(picos)
    }

    /// In picodollars (10⁻¹² USD).
    pub const fn picos(self) -> i128 {
        self.0
    }

    /// This amount `count` times, saturating at the ends of the range (±1.7·10²⁶ USD).
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        // Of two numbers of 64 bits the product always fits; to look for an overflow would be most of the work.
        if self.0 >= i64::MIN as i128 && self.0 <= i64::MAX as i128 {
            return Self(self.0 * count as i128);
        }
        Self(self.0.saturating_mul(count as i128))
    }

    /// The nearest `f64`, for charts only.
    #[expect(clippy::cast_precision_loss, reason = "for display, where the loss cannot be seen")]
    pub fn to_f64_for_display(self) -> f64 {
        self.0 as f64 / PICO as f64
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Usd {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl Usd {
    /// The shortest exact decimal: `0`, `1.5`, `0.000123`. Without an allocation: a gateway writes five of them a call.
    pub fn decimal(self) -> Decimal {
        let magnitude = self.0.unsigned_abs();
        // Nearly all amounts fit into 64 bits, where the division is many times faster.
        let (whole, mut part) = match u64::try_from(magnitude) {
            Ok(small) => (u128::from(small / PICO_64), small % PICO_64),
            Err(_) => (
                magnitude / PICO.unsigned_abs(),
                u64::try_from(magnitude % PICO.unsigned_abs()).unwrap_or_default(),
            ),
        };
        let mut decimal = Decimal { digits: [b'0'; LONGEST], start: LONGEST };
        if part > 0 {
            let mut places = DECIMALS;
            while part % 10 == 0 {
                part /= 10;
                places -= 1;
            }
            for _ in 0..places {
                decimal.put(DIGITS[(part % 10) as usize]);
                part /= 10;
            }
            decimal.put(b'.');
        }
        if whole == 0 {
            decimal.put(b'0');
        }
        let mut rest = whole;
        while rest > 0 {
            decimal.put(DIGITS[(rest % 10) as usize]);
            rest /= 10;
        }
        if self.0 < 0 {
            decimal.put(b'-');
        }
        decimal
    }
}

const DIGITS: &[u8; 10] = b"0123456789";

/// A sign, the 27 digits that an amount may have, a point, and its decimals.
const LONGEST: usize = 1 + 27 + 1 + DECIMALS;

/// An amount as text.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    digits: [u8; LONGEST],
    /// Where the text begins; it ends with the digits.
    start: usize,
}

impl Decimal {
    /// Puts a character before the others.
    fn put(&mut self, digit: u8) {
        self.start -= 1;
        self.digits[self.start] = digit;
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // It is ASCII, so this cannot fail.
        std::str::from_utf8(&self.digits[self.start..]).unwrap_or_default()
    }
}

impl fmt::Display for Usd {
    /// As [`Usd::decimal`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decimal().as_str())
    }
}

impl FromStr for Usd {
    type Err = InvalidUsd;

    fn from_str(text: &str) -> Result<Self, InvalidUsd> {
        parse(text).map(Self).ok_or_else(|| InvalidUsd(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let significant = part.trim_end_matches('0');
    if whole.is_empty()
        || !is_number(whole)
        || !is_number(part)
        || significant.len() > DECIMALS
        || digits.ends_with('.')
    {
        return None;
    }
    let picos = format!("{significant:0<12}").parse::<i128>().ok()?;
    let magnitude = whole.parse::<i128>().ok()?.checked_mul(PICO)?.checked_add(picos)?;
    Some(if negative { -magnitude } else { magnitude })
}

impl TryFrom<String> for Usd {
    type Error = InvalidUsd;
    fn try_from(text: String) -> Result<Self, InvalidUsd> {
        text.parse()
    }
}

impl From<Usd> for String {
    fn from(amount: Usd) -> Self {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes_decimals() {
        for (text, picos) in [
            ("0", 0),
            ("1.5", 1_500_000_000_000),
            ("0.000000000001", 1),
            ("-2.25", -2_250_000_000_000),
            ("0.00000015", 150_000),
            ("170141183460469231731687303.715884105727", i128::MAX),
            ("-170141183460469231731687303.715884105727", -i128::MAX),
        ] {
            assert_eq!(text.parse::<Usd>().unwrap(), Usd::from_picos(picos));
            assert_eq!(Usd::from_picos(picos).to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_an_amount() {
        for text in
            ["", "-", ".", "1.", ".5", "1e3", "1.0000000000001", "$1", " 1", "1_000", "+1", "NaN", "--1"]
        {
            assert!(text.parse::<Usd>().is_err(), "{text:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(picos in -(10i128.pow(30))..10i128.pow(30)) {
            let amount = Usd::from_picos(picos);
            prop_assert_eq!(amount.to_string().parse::<Usd>().unwrap(), amount);
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Usd>();
        }

        #[test]
        fn a_sum_does_not_depend_on_its_order(mut picos in prop::collection::vec(-1_000_000_000i128..1_000_000_000, 0..50)) {
            let forward: Usd = picos.iter().map(|p| Usd::from_picos(*p)).sum();
            picos.reverse();
            prop_assert_eq!(forward, picos.into_iter().map(Usd::from_picos).sum());
        }
    }
}
