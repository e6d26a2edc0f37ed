//! What input must look like, beyond what its types already say. Errors name the field, the value and what is expected.

use crate::ControlError;
use url::Url;

/// A name for people: up to 200 characters, none of them a control character.
pub(crate) fn display_name(field: &'static str, name: &str) -> Result<(), ControlError> {
    if name.chars().count() <= 200 && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(ControlError::invalid(field, name, "at most 200 characters, no control characters"))
}

/// Days that telemetry is kept.
pub(crate) fn retention_days(days: u16) -> Result<(), ControlError> {
    if (1..=3650).contains(&days) {
        return Ok(());
    }
    Err(ControlError::invalid("retention_days", &days.to_string(), "1 to 3650"))
}

/// A provider's base URL, as it is stored: without trailing slash.
pub(crate) fn base_url(text: &str) -> Result<String, ControlError> {
    let expected = "an http or https URL with a host and without credentials, query or fragment, \
                    such as https://api.openai.com/v1";
    let invalid = || ControlError::invalid("base_url", text, expected);
    let url = Url::parse(text).map_err(|_| invalid())?;
    if !url.username().is_empty() || url.password().is_some() {
        // The value holds a credential: it is not repeated.
        return Err(ControlError::invalid("base_url", "(a URL with credentials)", expected));
    }
    let well_formed = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.query().is_none()
        && url.fragment().is_none()
        && text.len() <= 2048;
    if well_formed { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(invalid()) }
}

/// A name that goes to a provider or into a label: 1 to 256 visible ASCII characters.
pub(crate) fn token(field: &'static str, text: &str) -> Result<(), ControlError> {
    if (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(ControlError::invalid(field, text, "1 to 256 visible ASCII characters without spaces"))
}

/// A sign-in name, as it is stored: lower case.
pub(crate) fn username(text: &str) -> Result<String, ControlError> {
    let valid = (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'+' | b'-'));
    if valid {
        return Ok(text.to_ascii_lowercase());
    }
    Err(ControlError::invalid("username", text, "1 to 128 characters of A-Z a-z 0-9 . _ @ + -"))
}

/// A password; the error never repeats it.
pub(crate) fn password(text: &str) -> Result<(), ControlError> {
    if (8..=1024).contains(&text.len()) {
        return Ok(());
    }
    Err(ControlError::invalid("password", "(hidden)", "8 to 1024 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        assert_eq!(base_url("https://api.openai.com/v1/").unwrap(), "https://api.openai.com/v1");
        assert_eq!(base_url("http://127.0.0.1:8070").unwrap(), "http://127.0.0.1:8070");
        for bad in [
            "",
            "api.openai.com",
            "ftp://a/b",
            "https://",
            "http://a/?q=1",
            "http://a/#f",
            "file:///etc/passwd",
        ] {
            let error = base_url(bad).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("base_url: {bad:?} is not valid, expected an http")),
                "{error}"
            );
        }
        let error = base_url("https://me:hunter2@host/v1").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn retention_has_both_bounds() {
        assert!(retention_days(0).is_err());
        assert!(retention_days(1).is_ok());
        assert!(retention_days(3650).is_ok());
        assert_eq!(
            retention_days(3651).unwrap_err().to_string(),
            "retention_days: \"3651\" is not valid, expected 1 to 3650"
        );
    }

    #[test]
    fn names_and_passwords() {
        assert_eq!(username("Ann@Example.org").unwrap(), "ann@example.org");
        assert!(username("ann smith").is_err());
        assert!(display_name("name", "Größe 5").is_ok());
        assert!(display_name("name", "a\nb").is_err());
        assert!(password("short").unwrap_err().to_string().contains("8 to 1024"));
        assert!(token("tier", "").is_err());
    }
}
