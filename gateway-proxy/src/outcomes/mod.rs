//! `POST /v1/feedback` and `POST /v1/actions`: what answers were good for.
//!
//! What a client says is checked, put into the spool as an OTLP log record, and travels to ClickHouse as calls do. Nothing is looked
//! up: whether a response or a trace is known is decided where outcomes meet calls (docs/decisions, 11), as `[gateway.outcomes]
//! unknown` says. So outcomes may come before the calls that they are about, or long after.

mod actions;
mod feedback;
mod fields;

use crate::app::App;
use crate::emit::Event;
use crate::errors::Failure;
use crate::identity::Identity;
use crate::intake::{ClientBody, Intake, read_json_body};
use crate::request::BodyError;
use crate::respond::{self, Body};
use bytes::Bytes;
use contracts::policy::KeyPolicy;
use fields::Fields;
use http::request::Parts as Head;
use http::{Response, StatusCode};

/// An outcome takes no more bytes than this.
const MOST_BYTES: usize = 256 << 10;

/// What clients can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Feedback,
    Action,
}

impl Outcome {
    /// By path.
    pub(crate) fn find(path: &str) -> Option<Self> {
        match path {
            "/v1/feedback" => Some(Self::Feedback),
            "/v1/actions" => Some(Self::Action),
            _ => None,
        }
    }

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Feedback => "/v1/feedback",
            Self::Action => "/v1/actions",
        }
    }
}

/// Takes an outcome of the key's tenant; once this answers, it is in the spool.
pub(crate) async fn take(
    app: &App,
    identity: &Identity,
    key: &KeyPolicy,
    outcome: Outcome,
    head: &Head,
    body: &mut ClientBody,
) -> Result<Response<Body>, Failure> {
    // Unlike a call, an outcome can be sent again: it is never taken to be dropped, whatever becomes of calls.
    if app.recorder.is_full_or_broken() {
        return Err(Failure::SpoolFull);
    }
    let intake = Intake::new(app, app.limits.body_bytes.min(MOST_BYTES));
    let (body, _room) = read_json_body(&head.headers, body, intake).await?;
    let event = read(app, identity, key, outcome, head, &body)?;
    let answer = event.answer();
    app.recorder.record_event(&event.encode(), &app.metrics).map_err(|_| Failure::OutcomeUnrecorded)?;
    Ok(respond::json(StatusCode::ACCEPTED, answer, identity))
}

fn read(
    app: &App,
    identity: &Identity,
    key: &KeyPolicy,
    outcome: Outcome,
    head: &Head,
    body: &Bytes,
) -> Result<Event, BodyError> {
    let mut fields = Fields::read(body, app.limits.json_depth)?;
    fields.take_header(&head.headers)?;
    let mut event = Event::outcome(identity, key, app.unknown_outcomes);
    event.time = fields.time(identity.started, key.tenant.retention_days)?;
    event.idempotency_key = fields.text("idempotency_key", fields::ID)?;
    let expected = match outcome {
        Outcome::Feedback => {
            feedback::read(&mut fields, &mut event, key.tenant.capture_content)?;
            feedback::FIELDS
        }
        Outcome::Action => {
            actions::read(&mut fields, &mut event)?;
            actions::FIELDS
        }
    };
    fields.finish(expected)?;
    Ok(event)
}
