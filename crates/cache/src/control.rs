//! What a caller's headers say of the cache: less than the route's policy grants, never more.

use std::time::Duration;

/// One request's wishes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Control {
    /// How far the cache may go.
    pub mode: Mode,
    /// Whether an answer from the cache may be given (`no-cache` says no; the model's answer is kept all the same).
    pub no_read: bool,
    /// Whether nothing may be kept (`no-store`); nothing is read either.
    pub no_store: bool,
    /// Greatest age of an answer.
    pub max_age: Option<Duration>,
    /// Whether the model must not be called.
    pub only_if_cached: bool,
    /// How long this request's answer may be kept, where that is shorter than the route's time.
    pub ttl: Option<Duration>,
    /// Least similarity, where that is stricter than the route's.
    pub threshold: Option<f64>,
}

/// How far the cache may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As the route says.
    #[default]
    Semantic,
    /// Only the same request again.
    Exact,
    /// Not at all.
    Off,
}

/// A header that cannot be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header {header}: {value:?} is not valid, expected {expected}")]
pub struct InvalidControl {
    /// The header's name.
    pub header: &'static str,
    /// What it holds, cut.
    pub value: String,
    /// What it may hold.
    pub expected: &'static str,
}

/// Standard directives: `no-cache`, `no-store`, `max-age=N`, `only-if-cached`. Others are for other caches.
pub const CACHE_CONTROL: &str = "cache-control";
/// `off`, `exact` or `semantic`.
pub const MODE: &str = "x-control-tower-cache";
/// Seconds.
pub const TTL: &str = "x-control-tower-cache-ttl";
/// A cosine.
pub const THRESHOLD: &str = "x-control-tower-cache-threshold";

impl Control {
    /// Reads the headers; `header` gives a header's value by its name in lower case.
    ///
    /// ```
    /// let control = cache::Control::read(|name| (name == "cache-control").then_some("no-cache")).unwrap();
    /// assert!(control.no_read && !control.no_store);
    /// ```
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<Self, InvalidControl> {
        let mut control = Self::default();
        if let Some(value) = header(CACHE_CONTROL) {
            control.directives(value)?;
        }
        if let Some(value) = header(MODE) {
            control.mode = match value.trim() {
                "semantic" => Mode::Semantic,
                "exact" => Mode::Exact,
                "off" => Mode::Off,
                _ => return Err(invalid(MODE, value, "off, exact or semantic")),
            };
        }
        if let Some(value) = header(TTL) {
            control.ttl = Some(seconds(TTL, value, value)?);
        }
        if let Some(value) = header(THRESHOLD) {
            let threshold = value.trim().parse().ok().filter(|cosine| (0.0..=1.0).contains(cosine));
            control.threshold =
                Some(threshold.ok_or_else(|| invalid(THRESHOLD, value, "a cosine from 0 to 1"))?);
        }
        Ok(control)
    }

    fn directives(&mut self, value: &str) -> Result<(), InvalidControl> {
        for directive in value.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => self.no_read = true,
                "no-store" => self.no_store = true,
                "only-if-cached" => self.only_if_cached = true,
                "max-age" => {
                    self.max_age = Some(seconds(CACHE_CONTROL, value, argument.trim().trim_matches('"'))?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the cache has no part in this request.
    pub fn is_off(&self) -> bool {
        self.mode == Mode::Off || self.no_store
    }

    /// Whether any answer that the route may give will do: what is under way for another such request does, too.
    pub(crate) fn takes_any(&self) -> bool {
        !self.no_read && self.max_age.is_none() && self.threshold.is_none() && self.mode == Mode::Semantic
    }
}

fn seconds(header: &'static str, value: &str, number: &str) -> Result<Duration, InvalidControl> {
    let parsed = number.trim().parse::<u32>().map(|seconds| Duration::from_secs(seconds.into()));
    parsed.map_err(|_| invalid(header, value, "a number of seconds, such as max-age=60 or 60"))
}

fn invalid(header: &'static str, value: &str, expected: &'static str) -> InvalidControl {
    InvalidControl { header, value: value.chars().take(160).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &'static str)]) -> Result<Control, InvalidControl> {
        Control::read(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    #[test]
    fn without_headers_the_route_decides() {
        let control = read(&[]).unwrap();
        assert_eq!(control, Control::default());
        assert!(control.takes_any() && !control.is_off());
    }

    #[test]
    fn directives_are_read_in_any_case_and_others_are_left_to_others() {
        let control =
            read(&[(CACHE_CONTROL, "No-Cache , max-age=\"30\", no-transform, only-if-cached")]).unwrap();
        assert!(control.no_read && control.only_if_cached && !control.no_store);
        assert_eq!(control.max_age, Some(Duration::from_secs(30)));
        assert!(read(&[(CACHE_CONTROL, "no-store")]).unwrap().is_off());
    }

    #[test]
    fn our_own_headers_are_read() {
        let control = read(&[(MODE, "exact"), (TTL, "60"), (THRESHOLD, "0.97")]).unwrap();
        assert_eq!((control.mode, control.threshold), (Mode::Exact, Some(0.97)));
        assert_eq!(control.ttl, Some(Duration::from_mins(1)));
        assert!(read(&[(MODE, "off")]).unwrap().is_off());
    }

    #[test]
    fn a_mistake_names_the_header() {
        for (header, value) in [
            (CACHE_CONTROL, "max-age=soon"),
            (CACHE_CONTROL, "max-age"),
            (MODE, "on"),
            (TTL, "-1"),
            (THRESHOLD, "1.5"),
            (THRESHOLD, "NaN"),
        ] {
            let error = read(&[(header, value)]).unwrap_err();
            assert_eq!((error.header, error.value.as_str()), (header, value));
        }
    }
}
