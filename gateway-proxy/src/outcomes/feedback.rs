//! `POST /v1/feedback`: what somebody thinks of one answer.
//!
//! `{"response_id" | "trace_id" (and "span_id"), "score", "label", "comment", "idempotency_key", "time"}`: what it is about, and at
//! least one of score, label and comment.

use super::fields::{self, Fields, hex_of, trace_of};
use crate::emit::Event;
use contracts::ApiError;
use contracts::attributes::{control_tower as ct, gen_ai};

/// Most characters of a comment.
const COMMENT: usize = 8_192;

/// Names of its fields.
pub(super) const FIELDS: &str =
    "response_id, trace_id, span_id, score, label, comment, idempotency_key and time";

pub(super) fn read(fields: &mut Fields, event: &mut Event, keep_comment: bool) -> Result<(), ApiError> {
    event.name = ct::EVENT_FEEDBACK;
    let response = fields.text("response_id", fields::ID)?;
    let trace = fields.text("trace_id", fields::ID)?;
    let span = fields.text("span_id", fields::ID)?;
    if response.is_none() && trace.is_none() {
        let message =
            "response_id: required but missing: expected response_id or trace_id, what the feedback is about";
        let error = ApiError::invalid("response_id", message);
        return Err(ApiError { code: Some("missing_required_parameter"), ..error });
    }
    if let Some(response) = response {
        event.text(gen_ai::RESPONSE_ID, response);
    }
    if let Some(trace) = &trace {
        event.trace = trace_of("trace_id", trace)?;
    }
    if let Some(span) = &span {
        if trace.is_none() {
            let message = "span_id: there is no trace_id beside it: expected the trace that the span is in";
            return Err(ApiError::invalid("span_id", message));
        }
        event.span = hex_of("span_id", span, 16)?;
    }
    let score = fields.number("score")?;
    let label = fields.text("label", fields::NAME)?;
    let comment = fields.text("comment", COMMENT)?;
    if score.is_none() && label.is_none() && comment.is_none() {
        let message = "score: required but missing: expected at least one of score, label and comment";
        let error = ApiError::invalid("score", message);
        return Err(ApiError { code: Some("missing_required_parameter"), ..error });
    }
    if let Some(score) = score {
        event.double(ct::FEEDBACK_SCORE, score);
    }
    if let Some(label) = label {
        event.text(ct::FEEDBACK_LABEL, label);
    }
    // What people wrote is content, kept only where content is.
    if let Some(comment) = comment.filter(|_| keep_comment) {
        event.text(ct::FEEDBACK_COMMENT, comment);
    }
    Ok(())
}
