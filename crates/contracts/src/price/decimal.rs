//! Exact reading of decimal numbers, as they stand in price lists and JSON: `0.15`, `3`, `1.5e-07`.

/// Why a number cannot be taken exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InexactDecimal {
    /// It is not a decimal number.
    #[error("is not a decimal number")]
    NotANumber,
    /// It is below zero.
    #[error("is negative")]
    Negative,
    /// It has digits below the last decimal that is kept.
    #[error("is finer than can be represented")]
    TooFine,
    /// It does not fit.
    #[error("is too large")]
    TooLarge,
}

/// `text` × 10^`decimals`, exactly: `scaled("1.5e-07", 12)` is 150,000.
///
/// Takes what JSON takes as a number: digits with an optional fraction and exponent. No float is involved.
pub fn scaled(text: &str, decimals: i32) -> Result<u64, InexactDecimal> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(InexactDecimal::NotANumber),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(InexactDecimal::NotANumber);
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() || significant.bytes().all(|b| b == b'0') {
        return Ok(0);
    }
    if negative {
        return Err(InexactDecimal::Negative);
    }
    let trimmed = i64::try_from(digits.len() - significant.len()).map_err(|_| InexactDecimal::TooLarge)?;
    let fraction_digits = i64::try_from(fraction.len()).map_err(|_| InexactDecimal::TooLarge)?;
    let shift = exponent + i64::from(decimals) + trimmed - fraction_digits;
    let shift = u32::try_from(shift).map_err(|_| InexactDecimal::TooFine)?;
    let value = significant.trim_start_matches('0').parse::<u64>().map_err(|_| InexactDecimal::TooLarge)?;
    10u64.checked_pow(shift).and_then(|power| value.checked_mul(power)).ok_or(InexactDecimal::TooLarge)
}

/// Exponents beyond any price are cut to ±10,000, which gives the same verdict.
fn parse_exponent(text: &str) -> Result<i64, InexactDecimal> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InexactDecimal::NotANumber);
    }
    Ok(sign * digits.parse::<i64>().unwrap_or(i64::MAX).min(10_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_json_numbers_exactly() {
        for (text, decimals, value) in [
            ("1.5e-07", 12, 150_000),
            ("0.00000015", 12, 150_000),
            ("1.5E-7", 12, 150_000),
            ("15e-8", 12, 150_000),
            ("150000e-12", 12, 150_000),
            ("0.15", 6, 150_000),
            ("3", 6, 3_000_000),
            ("1e2", 0, 100),
            ("1e+2", 0, 100),
            ("0.000000000001000", 12, 1),
            ("0e-99999999999999999999", 12, 0),
            ("0.0", 6, 0),
            ("-0.0", 6, 0),
            ("00012.50", 6, 12_500_000),
        ] {
            assert_eq!(scaled(text, decimals), Ok(value), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_exact() {
        use InexactDecimal::{Negative, NotANumber, TooFine, TooLarge};
        for (text, verdict) in [
            ("1e-13", TooFine),
            ("0.0000000000015", TooFine),
            ("1e-99999999999999999999", TooFine),
            ("1e8", TooLarge),
            ("99999999999999999999", TooLarge),
            ("1e99999999999999999999", TooLarge),
            ("-1", Negative),
            ("", NotANumber),
            (".5", NotANumber),
            ("1.", NotANumber),
            ("1.e3", NotANumber),
            ("e3", NotANumber),
            ("1e", NotANumber),
            ("1e+", NotANumber),
            ("+1", NotANumber),
            ("NaN", NotANumber),
            ("1_000", NotANumber),
            ("0x10", NotANumber),
            (" 1", NotANumber),
            ("1.2.3", NotANumber),
            ("--1", NotANumber),
        ] {
            assert_eq!(scaled(text, 12), Err(verdict), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}", decimals in -20i32..20) {
            let _ = scaled(&text, decimals);
        }

        #[test]
        fn every_spelling_of_a_number_reads_the_same(picos in 1u64..1_000_000_000_000, shift in 0usize..20) {
            let plain = format!("0.{picos:012}");
            let shifted = format!("{picos}{}e-{}", "0".repeat(shift), 12 + shift);
            prop_assert_eq!(scaled(&plain, 12), Ok(picos));
            prop_assert_eq!(scaled(&shifted, 12), Ok(picos));
        }
    }
}
