//! The session cookie: `HttpOnly`, `SameSite=Lax`, and with TLS `Secure` under the `__Host-` prefix, which no other host of
//! the domain can set.

use http::{HeaderMap, header};

const PLAIN: &str = "ct_session";
const SECURE: &str = "__Host-ct_session";

const fn name(secure: bool) -> &'static str {
    if secure { SECURE } else { PLAIN }
}

/// The token in the request's cookies.
pub(crate) fn token(headers: &HeaderMap, secure: bool) -> Option<&str> {
    cookie(headers, name(secure))
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// `Set-Cookie` that starts a session of `seconds`.
pub(crate) fn set(token: &str, seconds: u64, secure: bool) -> String {
    let mark = if secure { "; Secure" } else { "" };
    format!("{}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{mark}", name(secure))
}

/// `Set-Cookie` that ends it.
pub(crate) fn clear(secure: bool) -> String {
    set("", 0, secure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; ct_session=tok; b=2".parse().unwrap());
        assert_eq!(token(&headers, false), Some("tok"));
        assert_eq!(token(&headers, true), None);
    }

    #[test]
    fn with_tls_the_cookie_is_bound_to_the_host() {
        let cookie = set("tok", 60, true);
        assert_eq!(cookie, "__Host-ct_session=tok; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert!(clear(false).contains("Max-Age=0"));
    }
}
