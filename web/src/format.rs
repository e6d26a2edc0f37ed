//! Numbers as people read them: few significant digits on the page, the exact value in the title.

use contracts::Usd;

/// `842`, `12.4k`, `3.05M`.
pub fn count(n: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = n as f64;
    match n {
        0..=9_999 => grouped(n),
        10_000..=999_499 => format!("{}k", significant(value / 1e3)),
        999_500..=999_499_999 => format!("{}M", significant(value / 1e6)),
        _ => format!("{}B", significant(value / 1e9)),
    }
}

/// `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `$1,204.50`, `$3.27`, `$0.0412`, `$0.00105`, `$0.000123`, `<$0.000001`. The exact value is [`exact_usd`].
pub fn usd(amount: Usd) -> String {
    let picos = amount.picos().unsigned_abs();
    let sign = if amount.picos() < 0 { "−" } else { "" };
    let decimals = match picos {
        0 => return String::from("$0"),
        1..=999_999 => return format!("{sign}<$0.000001"),
        1_000_000..=999_999_999 => 6,
        1_000_000_000..=9_999_999_999 => 5,
        10_000_000_000..=99_999_999_999 => 4,
        100_000_000_000..=999_999_999_999 => 3,
        _ => 2,
    };
    let step = 10u128.pow(12 - decimals);
    let rounded = (picos + step / 2) / step;
    let scale = 10u128.pow(decimals);
    let whole = grouped(u64::try_from(rounded / scale).unwrap_or(u64::MAX));
    format!("{sign}${whole}.{:0width$}", rounded % scale, width = decimals as usize)
}

/// `0.000123456 USD`: every digit.
pub fn exact_usd(amount: Usd) -> String {
    format!("{amount} USD")
}

/// `840 µs`, `12 ms`, `1.24 s`, `2 m 05 s` of milliseconds.
pub fn duration(ms: f64) -> String {
    if !ms.is_finite() || ms < 0.0 {
        return String::from("–");
    }
    if ms == 0.0 {
        String::from("0 ms")
    } else if ms < 1.0 {
        format!("{:.0} µs", ms * 1e3)
    } else if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 59_950.0 {
        format!("{} s", three_digits(ms / 1e3))
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "finite and positive, checked above"
        )]
        let seconds = (ms / 1e3).round() as u64;
        format!("{} m {:02} s", seconds / 60, seconds % 60)
    }
}

/// [`duration`], or a dash where nothing was measured.
pub fn maybe_duration(ms: Option<f64>) -> String {
    ms.map_or_else(|| String::from("–"), duration)
}

/// `0.42%` of a share between 0 and 1; a dash where nothing was observed.
pub fn percent(share: Option<f64>) -> String {
    let Some(share) = share.filter(|s| s.is_finite()) else { return String::from("–") };
    let value = share * 100.0;
    if value == 0.0 {
        String::from("0%")
    } else if value.abs() < 0.01 {
        String::from("<0.01%")
    } else if value.abs() < 10.0 {
        format!("{value:.2}%")
    } else {
        format!("{value:.1}%")
    }
}

/// Three significant digits: `1.20`, `12.4`, `124`. Columns of them line up.
fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}")
}

/// The same without trailing zeros: `1.2`, `12`, `124`.
fn significant(value: f64) -> String {
    let text = three_digits(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `part / whole`, `None` when there is no whole.
#[expect(clippy::cast_precision_loss, reason = "a share for display")]
pub fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How much `now` differs from `before`, as a share of `before`; `None` when there is nothing to compare with.
pub fn change(now: f64, before: f64) -> Option<f64> {
    (before.is_finite() && now.is_finite() && before > 0.0).then(|| (now - before) / before)
}

/// `+12%`, `−3.4%`, `+4.2×` for a [`change`].
pub fn signed_percent(change: f64) -> String {
    let sign = if change < 0.0 { "−" } else { "+" };
    let size = change.abs() * 100.0;
    if size >= 1_000.0 {
        format!("{sign}{}×", significant(size / 100.0))
    } else if size >= 9.95 {
        format!("{sign}{size:.0}%")
    } else {
        format!("{sign}{size:.1}%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits() {
        for (n, text) in [
            (0, "0"),
            (842, "842"),
            (9_999, "9,999"),
            (12_400, "12.4k"),
            (999_499, "999k"),
            (999_500, "1M"),
            (3_050_000, "3.05M"),
            (2_000_000_000, "2B"),
        ] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn money_keeps_what_matters() {
        for (amount, text) in [
            ("0", "$0"),
            ("1204.5", "$1,204.50"),
            ("3.274", "$3.27"),
            ("0.4127", "$0.413"),
            ("0.04119", "$0.0412"),
            ("0.0010462", "$0.00105"),
            ("0.0001234", "$0.000123"),
            ("0.0000001", "<$0.000001"),
            ("-2.5", "−$2.50"),
        ] {
            assert_eq!(usd(amount.parse().unwrap()), text);
        }
    }

    #[test]
    fn durations_choose_their_unit() {
        for (ms, text) in [
            (0.0, "0 ms"),
            (0.84, "840 µs"),
            (4.26, "4.3 ms"),
            (412.4, "412 ms"),
            (1_240.0, "1.24 s"),
            (12_000.0, "12.0 s"),
            (125_000.0, "2 m 05 s"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn shares_and_changes() {
        assert_eq!(percent(share(1, 240)), "0.42%");
        assert_eq!(percent(share(0, 0)), "–");
        assert_eq!(change(112.0, 100.0).map(signed_percent).as_deref(), Some("+12%"));
        assert_eq!(change(5.0, 0.0), None);
        assert_eq!(signed_percent(-0.034), "−3.4%");
        assert_eq!(signed_percent(12.5), "+12.5×");
    }
}
