//! Protection against forged requests: whoever changes something with a cookie must say where the request comes from, and
//! it must be here.
//!
//! Browsers send `Origin` with every POST and scripts cannot forge it. A request with an admin key as bearer is judged by
//! that key alone, whatever cookie it carries, so there is nothing to forge. Any other `Authorization`, such as the one that
//! browsers add behind a proxy with HTTP Basic, changes nothing.

use super::AppState;
use super::errors::{Refusal, wrong_origin};
use super::identity::bearer;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, header};

/// Refuses changes from elsewhere.
pub(crate) async fn require(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let by_key = bearer(request.headers()).is_some();
    if reads || by_key || is_ours(request.headers(), state.parts.config.public_url.as_deref()) {
        return next.run(request).await;
    }
    Refusal(wrong_origin()).into_response()
}

/// Whether `Origin` is the host that was asked, or the public URL.
pub(crate) fn is_ours(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return false };
    if let Some(url) = public_url {
        return origin.eq_ignore_ascii_case(url.trim_end_matches('/'));
    }
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.zip(text(header::HOST)).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        headers
    }

    #[test]
    fn only_our_own_pages_pass() {
        assert!(is_ours(&headers("http://127.0.0.1:3000", "127.0.0.1:3000"), None));
        assert!(!is_ours(&headers("http://127.0.0.1:4000", "127.0.0.1:3000"), None));
        assert!(!is_ours(&headers("null", "127.0.0.1:3000"), None));
        assert!(!is_ours(&HeaderMap::new(), None));
    }

    #[test]
    fn behind_a_proxy_the_public_url_counts() {
        let behind = headers("https://console.example.com", "10.0.0.1:3000");
        assert!(is_ours(&behind, Some("https://console.example.com/")));
        assert!(!is_ours(
            &headers("http://10.0.0.1:3000", "10.0.0.1:3000"),
            Some("https://console.example.com")
        ));
    }
}
