//! Figures as people read them: three digits or so, and a unit.

use contracts::Usd;

const PICOS_A_DOLLAR: i128 = 1_000_000_000_000;

/// `7`, `1.2k`, `3.4M`.
pub(crate) fn count(count: u64) -> String {
    scaled(count, 1_000, &["", "k", "M", "G", "T"])
}

/// `512 B`, `1.5 KiB`, `3.4 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes, 1_024, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut whole, mut rest, mut unit) = (number, 0, 0);
    while whole >= step && unit + 1 < units.len() {
        (rest, whole) = (whole % step, whole / step);
        unit += 1;
    }
    let unit_name = units.get(unit).copied().unwrap_or_default();
    if unit > 0 && whole < 100 {
        format!("{whole}.{}{unit_name}", rest * 10 / step)
    } else {
        format!("{whole}{unit_name}")
    }
}

/// `0`, `0.42`, `12.3`, `456`: of something a second.
pub(crate) fn rate(rate: f64) -> String {
    match rate {
        r if r <= 0.0 => "0".to_owned(),
        r if r < 10.0 => format!("{r:.2}"),
        r if r < 100.0 => format!("{r:.1}"),
        r if r < 10_000.0 => format!("{r:.0}"),
        r => format!("{:.1}k", r / 1_000.0),
    }
}

/// `850 ms`, `1.2 s`, `3 min`, `5 h`, `2 d`.
pub(crate) fn duration(ms: u64) -> String {
    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match ms {
        0..SECOND => format!("{ms} ms"),
        SECOND..10_000 => format!("{}.{} s", ms / SECOND, ms % SECOND / 100),
        10_000..MINUTE => format!("{} s", ms / SECOND),
        MINUTE..HOUR => format!("{} min", ms / MINUTE),
        HOUR..DAY => format!("{} h", ms / HOUR),
        _ => format!("{} d", ms / DAY),
    }
}

/// `850 ms` of a number of milliseconds, `-` of none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown with a few digits")]
pub(crate) fn millis(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| duration(ms.round().clamp(0.0, 1e15) as u64))
}

/// `$12.34`, `$0.0123`, `$0.000007`: cents from a dollar on, below as many decimals as tell something. Cut, not rounded: nobody is told of
/// more than was spent.
pub(crate) fn dollars(amount: Usd) -> String {
    let picos = amount.picos();
    let decimals: u32 = match picos.abs() {
        0 => 2,
        p if p >= PICOS_A_DOLLAR => 2,
        p if p >= PICOS_A_DOLLAR / 100 => 4,
        _ => 6,
    };
    let sign = if picos < 0 { "-" } else { "" };
    let (whole, rest) = (picos.abs() / PICOS_A_DOLLAR, picos.abs() % PICOS_A_DOLLAR);
    let rest = rest / 10_i128.pow(12 - decimals);
    format!("{sign}${whole}.{rest:0width$}", width = decimals as usize)
}

/// `62%` of a share.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A bar of `width` places, filled to `share`, readable without colour: `██████░░░░`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the width")]
pub(crate) fn bar(share: f64, width: u16) -> String {
    let full = (share.clamp(0.0, 1.0) * f64::from(width)).round() as usize;
    "█".repeat(full) + &"░".repeat(usize::from(width).saturating_sub(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_few_digits_and_a_unit() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 999_999, 1_234_567].map(count),
            ["0", "999", "1.0k", "12.3k", "999k", "1.2M"]
        );
        assert_eq!([0, 1_023, 1_536, 268_435_456].map(bytes), ["0 B", "1023 B", "1.5 KiB", "256 MiB"]);
        assert_eq!(
            [0, 999, 1_250, 59_999, 60_000, 7_200_000, 172_800_000].map(duration),
            ["0 ms", "999 ms", "1.2 s", "59 s", "1 min", "2 h", "2 d"]
        );
        assert_eq!([0.0, 0.417, 12.34, 456.7, 45_678.0].map(rate), ["0", "0.42", "12.3", "457", "45.7k"]);
        assert_eq!([Some(12.4), None].map(millis), ["12 ms", "-"]);
        let shown = ["0", "12.349", "0.01239", "0.000007", "0.0000001", "-1.5"]
            .map(|text| dollars(text.parse().unwrap()));
        assert_eq!(shown, ["$0.00", "$12.34", "$0.0123", "$0.000007", "$0.000000", "-$1.50"]);
        assert_eq!([bar(0.0, 4), bar(0.5, 4), bar(2.0, 4)], ["░░░░", "██░░", "████"]);
    }
}
