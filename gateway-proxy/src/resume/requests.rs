//! Coming back to a stream: which one, from where, and what becomes of it.

use super::{Follower, Gone, Kept};
use crate::app::App;
use crate::errors::Failure;
use crate::identity::Identity;
use crate::respond::{self, Body};
use contracts::policy::KeyPolicy;
use http::request::Parts as Head;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use std::sync::Arc;

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// How a response stands.
    Response(String),
    /// A response's events.
    ResponseEvents(String),
    /// To end a response.
    Cancel(String),
    /// Any stream's events.
    Events(String),
}

impl Asked {
    /// Whether a path is one of these endpoints.
    pub(crate) fn find(head: &Head) -> Option<Self> {
        let path = head.uri.path();
        if let Some(id) = path.strip_prefix("/v1/streams/") {
            return is_id(id).then(|| Self::Events(id.to_owned()));
        }
        let rest = path.strip_prefix("/v1/responses/")?;
        if let Some(id) = rest.strip_suffix("/cancel") {
            return is_id(id).then(|| Self::Cancel(id.to_owned()));
        }
        let streams = query(head, "stream") == Some("true");
        let asked = if streams { Self::ResponseEvents } else { Self::Response };
        is_id(rest).then(|| asked(rest.to_owned()))
    }

    /// The route, for metrics.
    pub(crate) const fn route(&self) -> &'static str {
        match self {
            Self::Response(_) | Self::ResponseEvents(_) => "/v1/responses/{id}",
            Self::Cancel(_) => "/v1/responses/{id}/cancel",
            Self::Events(_) => "/v1/streams/{id}",
        }
    }

    /// The method that it takes.
    pub(crate) const fn method(&self) -> (Method, &'static str) {
        match self {
            Self::Cancel(_) => (Method::POST, "POST"),
            _ => (Method::GET, "GET"),
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Response(id) | Self::ResponseEvents(id) | Self::Cancel(id) | Self::Events(id) => id,
        }
    }
}

/// Ids of responses and requests are of these characters.
fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (1..=256).contains(&text.len()) && text.bytes().all(fits)
}

fn query<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    let pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back()
}

/// Answers for the tenant of `key`.
pub(crate) fn answer(
    app: &App,
    key: &KeyPolicy,
    identity: &Identity,
    asked: &Asked,
    head: &Head,
) -> Result<Response<Body>, Failure> {
    let unknown = || Failure::UnknownStream { id: asked.id().to_owned() };
    let kept = app.streams.find(&key.tenant.id, asked.id()).ok_or_else(unknown)?;
    match asked {
        Asked::Response(_) => stands(&kept, identity).ok_or_else(unknown),
        Asked::Cancel(_) => {
            kept.cancel();
            stands(&kept, identity).ok_or_else(unknown)
        }
        Asked::ResponseEvents(_) => {
            let after =
                query(head, "starting_after").map(|text| number("starting_after", text)).transpose()?;
            events(&kept, after, identity)
        }
        Asked::Events(_) => {
            let after = last_event_id(&head.headers).map(|text| number("Last-Event-ID", text)).transpose()?;
            events(&kept, after, identity)
        }
    }
}

/// The number in an event's id, which is `{request id}:{number}`, or the number alone.
fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("last-event-id")?.to_str().unwrap_or("(not text)");
    Some(id.rsplit_once(':').map_or(id, |(_, number)| number))
}

fn number(field: &'static str, text: &str) -> Result<u64, Failure> {
    text.trim().parse().map_err(|_| Failure::BadEventNumber { field, value: text.chars().take(80).collect() })
}

fn stands(kept: &Kept, identity: &Identity) -> Option<Response<Body>> {
    Some(respond::json(StatusCode::OK, kept.response()?, identity))
}

fn events(kept: &Arc<Kept>, after: Option<u64>, identity: &Identity) -> Result<Response<Body>, Failure> {
    let next = after.map_or(0, |after| after.saturating_add(1));
    let follower = kept.follow(next).map_err(|Gone { first }| Failure::EventsGone { first })?;
    Ok(streamed(follower, identity))
}

/// A stream's events, as a response.
pub(super) fn streamed(follower: Follower, identity: &Identity) -> Response<Body> {
    let mut response = Response::new(Body::Other(follower.into_body()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    respond::identify(headers, identity);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str) -> Option<Asked> {
        let (head, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        Asked::find(&head)
    }

    #[test]
    fn paths_and_queries_tell_what_is_asked() {
        assert_eq!(asked("/v1/responses/resp_1"), Some(Asked::Response("resp_1".into())));
        assert_eq!(
            asked("/v1/responses/resp_1?starting_after=4&stream=true"),
            Some(Asked::ResponseEvents("resp_1".into()))
        );
        assert_eq!(asked("/v1/responses/resp_1/cancel"), Some(Asked::Cancel("resp_1".into())));
        assert_eq!(asked("/v1/streams/req_0a"), Some(Asked::Events("req_0a".into())));
        for other in ["/v1/responses", "/v1/responses/", "/v1/streams/a/b", "/v1/responses/%00"] {
            assert_eq!(asked(other), None, "{other}");
        }
    }

    #[test]
    fn an_event_id_ends_with_its_number() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_event_id(&headers), None);
        headers.insert("last-event-id", HeaderValue::from_static("req_0a:17"));
        assert_eq!(last_event_id(&headers), Some("17"));
        assert!(number("Last-Event-ID", "x").is_err());
    }
}
