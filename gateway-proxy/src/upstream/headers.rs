//! Which headers pass, in both directions.
//!
//! To an upstream only what is known to matter there: never the client's key, cookies or address, nothing about how the
//! client's own connection works, and nothing that acts on the operator's account there. An organisation or project that an
//! SDK takes from its environment would be refused with the operator's credential; an idempotency key is the client's own
//! and would meet other tenants' in one account; baggage is for the client's own services. To the client all but what
//! belongs to the upstream's connection, to its site, or to the operator's account.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of clients that upstreams see, named one by one. `accept-encoding` is not among them: an answer must be readable
/// here.
fn passes_to_upstream(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 4] =
        [header::ACCEPT, header::USER_AGENT, header::CONTENT_TYPE, header::ACCEPT_LANGUAGE];
    let text = name.as_str();
    NAMES.contains(name)
        || matches!(text, "openai-beta" | "anthropic-beta" | "anthropic-version")
        || matches!(text, "tracestate" | "x-client-request-id")
        || text.starts_with("x-stainless-")
}

/// Headers of upstreams that clients do not see: those of one hop, those that we set, those of another site, and those that
/// name the operator's account or say what is left of its limits, of which all tenants use. Limits that clients are told of are
/// those of their own plans.
fn passes_to_client(name: &HeaderName) -> bool {
    const NOT: [HeaderName; 14] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::TRAILER,
        header::UPGRADE,
        header::TE,
        header::PROXY_AUTHENTICATE,
        header::WWW_AUTHENTICATE,
        header::SET_COOKIE,
        header::SERVER,
        header::DATE,
        header::ALT_SVC,
        header::STRICT_TRANSPORT_SECURITY,
        header::VIA,
    ];
    let text = name.as_str();
    !NOT.contains(name)
        && !matches!(text, "keep-alive" | "proxy-connection" | "x-request-id" | "traceparent" | "tracestate")
        && !matches!(text, "openai-organization" | "openai-project" | "anthropic-organization-id")
        && !text.contains("ratelimit")
        && !text.starts_with("anthropic-priority-")
        && !text.starts_with("x-control-tower-")
        && !text.starts_with("access-control-")
}

/// The client's headers that go to the upstream, with room for the ones that we add.
pub(crate) fn for_upstream(from: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(12);
    for (name, value) in from {
        if passes_to_upstream(name) {
            to.append(name.clone(), value.clone());
        }
    }
    to
}

/// Adds the upstream's headers that go to the client. Those that `connection` names are of one hop too.
pub(crate) fn for_client(from: &HeaderMap, to: &mut HeaderMap) {
    let named = from.get(header::CONNECTION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    for (name, value) in from {
        if passes_to_client(name) && !lists(named, name) {
            to.append(name.clone(), value.clone());
        }
    }
}

fn lists(named: &str, name: &HeaderName) -> bool {
    !named.is_empty() && named.split(',').any(|n| n.trim().eq_ignore_ascii_case(name.as_str()))
}

/// A number as a header.
pub(super) fn number(value: usize) -> HeaderValue {
    HeaderValue::from(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap()))
            .collect()
    }

    #[test]
    fn the_upstream_learns_nothing_that_is_not_its_business() {
        let kept = for_upstream(&map(&[
            ("authorization", "Bearer ct-secret"),
            ("cookie", "a=b"),
            ("host", "gateway"),
            ("content-length", "3"),
            ("accept-encoding", "gzip"),
            ("x-forwarded-for", "10.0.0.1"),
            ("user-agent", "OpenAI/Python"),
            ("openai-beta", "assistants=v2"),
            ("openai-organization", "org-of-the-client"),
            ("openai-project", "proj-of-the-client"),
            ("anthropic-beta", "context-1m"),
            ("anthropic-dangerous-direct-browser-access", "true"),
            ("idempotency-key", "1"),
            ("baggage", "user=jane"),
            ("x-stainless-retry-count", "0"),
        ]));
        let mut names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["anthropic-beta", "openai-beta", "user-agent", "x-stainless-retry-count"]);
    }

    #[test]
    fn the_client_sees_the_answer_and_nothing_of_the_hop() {
        let mut kept = HeaderMap::new();
        let from = map(&[
            ("content-type", "application/json"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
            ("x-request-id", "theirs"),
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimitbysize-remaining-minute", "9"),
            ("ratelimit-policy", "60;w=60"),
            ("anthropic-ratelimit-tokens-remaining", "9"),
            ("anthropic-priority-input-tokens-remaining", "9"),
            ("openai-processing-ms", "12"),
            ("openai-organization", "org-of-the-operator"),
            ("openai-project", "proj-of-the-operator"),
            ("anthropic-organization-id", "0"),
            ("retry-after", "3"),
        ]);
        for_client(&from, &mut kept);
        let mut names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "openai-processing-ms", "retry-after"]);
    }
}
