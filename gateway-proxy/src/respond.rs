//! Responses to clients. Errors become HTTP here and nowhere else.

use crate::endpoints::Endpoint;
use crate::experimenting::Assigned;
use crate::identity::Identity;
use crate::relay::Watched;
use bytes::Bytes;
use contracts::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The call's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The call's trace, 32 hex digits.
pub(crate) const TRACE_ID: HeaderName = HeaderName::from_static("x-control-tower-trace-id");
/// The model that answered, as its provider names it.
pub(crate) const MODEL: HeaderName = HeaderName::from_static("x-control-tower-model");
/// Whether the answer was given before: `hit_exact`, `hit_semantic`, `miss` or `bypass`.
pub(crate) const CACHE: HeaderName = HeaderName::from_static("x-control-tower-cache");
/// A field of the request that its model's provider has no place for; one header a field.
pub(crate) const WARNING: HeaderName = HeaderName::from_static("x-control-tower-warning");
/// The arm of an experiment that the call got: `experiment=arm`.
pub(crate) const EXPERIMENT: HeaderName = HeaderName::from_static("x-control-tower-experiment");
/// Decimal US dollars; in a trailer when the answer is a stream.
pub(crate) const COST: HeaderName = HeaderName::from_static("x-control-tower-cost-usd");

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a response consists of.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it, at once; `None` once it was taken.
    Whole(Option<Bytes>),
    /// An event stream as it comes.
    Stream(Watched),
    /// From the operational endpoints, or of a stream that is kept.
    Other(axum::body::Body),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Stream(stream) => {
                stream.poll_frame(cx).map(|frame| frame.map(|f| f.map_err(BoxError::from)))
            }
            Self::Other(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(_) => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}

/// A response with JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>, identity: &Identity) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    identify(response.headers_mut(), identity);
    response
}

/// The response to a request that failed: in the shape of its endpoint, or else OpenAI's, with the request's id and when to come
/// back.
pub(crate) fn error(error: &ApiError, endpoint: Option<&Endpoint>, identity: &Identity) -> Response<Body> {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let id = &identity.request_id;
    let body = endpoint.map_or_else(|| error.to_json(id), |endpoint| (endpoint.error_body)(error, id));
    let mut response = json(status, body, identity);
    if let Some(seconds) = error.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Says which request a response belongs to.
pub(crate) fn identify(headers: &mut HeaderMap, identity: &Identity) {
    put(headers, REQUEST_ID, &identity.request_id);
    put(headers, TRACE_ID, &identity.trace_hex());
}

/// Says which arm of an experiment the call got, where it got one.
pub(crate) fn assigned(headers: &mut HeaderMap, assigned: Option<&Assigned>) {
    if let Some(assigned) = assigned {
        put(headers, EXPERIMENT, &assigned.pair());
    }
}

/// Sets a header if its value can be one.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
