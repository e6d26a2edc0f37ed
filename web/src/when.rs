//! Points in time as people read them: in the viewer's zone once the browser knows it, in UTC before.
//!
//! Milliseconds since the epoch in, text out. The civil-date arithmetic is the usual one over eras of 400 years.

/// A date and time of day without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: i64,
    /// Day of the month.
    pub day: i64,
    /// Hour, 0 to 23.
    pub hour: i64,
    /// Minute.
    pub minute: i64,
    /// Second.
    pub second: i64,
    /// Millisecond.
    pub milli: i64,
}

const DAY_MS: i64 = 86_400_000;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The UTC date and time of `ms`.
pub const fn civil(ms: i64) -> Civil {
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Civil {
        year: year_of_era + era * 400 + (month <= 2) as i64,
        month,
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        hour: rest / 3_600_000,
        minute: rest / 60_000 % 60,
        second: rest / 1_000 % 60,
        milli: rest % 1_000,
    }
}

/// Milliseconds since the epoch of a UTC date and time.
pub const fn millis(c: Civil) -> i64 {
    let year = c.year - (c.month <= 2) as i64;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if c.month > 2 { c.month - 3 } else { c.month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + c.day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    days * DAY_MS + c.hour * 3_600_000 + c.minute * 60_000 + c.second * 1_000 + c.milli
}

/// `2026-11-22T14:07:29.120Z`, for machines.
pub fn rfc3339(ms: i64) -> String {
    let c = civil(ms);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        c.year, c.month, c.day, c.hour, c.minute, c.second, c.milli
    )
}

/// `2026-11-22 14:07:29.120 UTC`, for titles.
pub fn exact_utc(ms: i64) -> String {
    let c = civil(ms);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03} UTC",
        c.year, c.month, c.day, c.hour, c.minute, c.second, c.milli
    )
}

/// `22 Nov 14:07:29` at `offset_minutes` east of UTC.
pub fn day_and_second(ms: i64, offset_minutes: i64) -> String {
    let c = civil(ms.saturating_add(offset_minutes * 60_000));
    let month = MONTHS.get(usize::try_from(c.month - 1).unwrap_or(0)).copied().unwrap_or_default();
    format!("{} {month} {:02}:{:02}:{:02}", c.day, c.hour, c.minute, c.second)
}

/// `22 Nov 2026` at `offset_minutes` east of UTC.
pub fn day(ms: i64, offset_minutes: i64) -> String {
    let c = civil(ms.saturating_add(offset_minutes * 60_000));
    let month = MONTHS.get(usize::try_from(c.month - 1).unwrap_or(0)).copied().unwrap_or_default();
    format!("{} {month} {}", c.day, c.year)
}

/// Reads milliseconds since the epoch, or `YYYY-MM-DDTHH:MM[:SS[.mmm]][Z]`, taken as UTC.
pub fn parse(text: &str) -> Option<i64> {
    if let Ok(ms) = text.parse::<i64>() {
        return Some(ms);
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.splitn(3, '-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = clock.splitn(3, ':').map(digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let milli = digits(&format!("{fraction:0<3}").chars().take(3).collect::<String>())?;
    let given = Civil { year, month, day, hour, minute, second, milli };
    let ms = millis(given);
    // 31 February and 25 o'clock do not survive the way back.
    (civil(ms) == given).then_some(ms)
}

fn digits(text: &str) -> Option<i64> {
    let valid = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_out_right() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(1_795_356_449_120), "2026-11-22T14:07:29.120Z");
        assert_eq!(day_and_second(1_795_356_449_120, 60), "22 Nov 15:07:29");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for ms in (-4_000_000_000_000..8_000_000_000_000).step_by(86_399_999_317) {
            assert_eq!(parse(&rfc3339(ms)), Some(ms));
        }
    }

    #[test]
    fn short_forms_are_read() {
        assert_eq!(parse("2026-11-22T14:07"), Some(1_795_356_420_000));
        assert_eq!(parse("2026-11-22"), Some(1_795_305_600_000));
        assert_eq!(parse("2026-11-22T14:07:29.12"), Some(1_795_356_449_120));
        assert_eq!(parse("1795305600000"), Some(1_795_305_600_000));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-02-31",
            "2026-13-01",
            "2026-11-22T25:00",
            "2026-11-22T14",
            "+1-2-3",
            "é-é-é",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
