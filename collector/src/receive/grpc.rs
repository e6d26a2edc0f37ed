//! OTLP over gRPC: `TraceService/Export`, and a clear answer for the services that are not here.
//!
//! The service is written by hand around tonic's codec, for two reasons: senders are known by their headers before a message
//! is read, and spans are decoded one by one (see `wire`).

use super::status::Refusal;
use super::{Receiver, TraceRequest};
use crate::auth::Principal;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use std::future::Future;
use std::pin::Pin;
use tonic::Code;
use tonic::codec::{CompressionEncoding, EnabledCompressionEncodings};
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What a message in work is taken to weigh: gRPC does not say beforehand how large it is.
const MESSAGE_WEIGHT: usize = 1024 * 1024;

/// The gRPC services as a router.
pub fn router(receiver: Receiver) -> Router {
    Router::new().route(EXPORT, post(export)).fallback(unimplemented).with_state(receiver)
}

async fn export(State(receiver): State<Receiver>, request: Request) -> Response {
    let authenticated = receiver.authenticator.authenticate(request.headers());
    let retry_after = receiver.ingest.retry_after();
    let principal = match authenticated {
        Ok(principal) => principal,
        Err(error) => {
            let refusal = Refusal::auth(&error, retry_after);
            receiver.count("grpc", refusal.label);
            return respond(refusal.grpc().into_http());
        }
    };
    let Some(_room) = receiver.in_flight.enter(MESSAGE_WEIGHT).await else {
        let refusal = Refusal::pressure("too many requests are in work", retry_after);
        receiver.count("grpc", refusal.label);
        return respond(refusal.grpc().into_http());
    };
    let mut accept = EnabledCompressionEncodings::default();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        accept.enable(encoding);
    }
    let mut grpc = Grpc::new(ProstCodec::<ExportTraceServiceResponse, TraceRequest>::default())
        .apply_compression_config(accept, EnabledCompressionEncodings::default())
        .apply_max_message_size_config(Some(receiver.sizes.max_decompressed), None);
    let limit = receiver.sizes.max_decompressed;
    let response = grpc.unary(Export { receiver: receiver.clone(), principal }, request).await;
    match unread(response.headers(), limit) {
        Some(refusal) => {
            receiver.count("grpc", refusal.label);
            respond(refusal.grpc().into_http())
        }
        None => respond(response),
    }
}

/// A message that tonic could not read never reached us, and its code may be one that OTLP takes for a hint to try again:
/// the codes of this are ours.
fn unread(headers: &http::HeaderMap, limit: usize) -> Option<Refusal> {
    let status = tonic::Status::from_header_map(headers)?;
    let too_large =
        || Refusal::too_large(format!("the message is larger than {limit} bytes: {}", status.message()));
    match status.code() {
        Code::Internal => Some(Refusal::invalid(format!("the message cannot be read: {}", status.message()))),
        Code::OutOfRange => Some(too_large()),
        _ => None,
    }
}

async fn unimplemented(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("{path} is not served here: expected {EXPORT}, as only traces are collected");
    respond(tonic::Status::unimplemented(message).into_http())
}

fn respond(response: http::Response<tonic::body::Body>) -> Response {
    response.map(Body::new)
}

/// One call of one sender.
struct Export {
    receiver: Receiver,
    principal: Principal,
}

impl UnaryService<TraceRequest> for Export {
    type Response = ExportTraceServiceResponse;
    type Future =
        Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, tonic::Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<TraceRequest>) -> Self::Future {
        let (receiver, principal) = (self.receiver.clone(), self.principal.clone());
        Box::pin(async move {
            let outcome = receiver.ingest.export(principal, request.into_inner()).await;
            let outcome = outcome.map_err(|error| {
                let refusal = Refusal::ingest(&error, receiver.ingest.retry_after());
                receiver.count("grpc", refusal.label);
                refusal.grpc()
            })?;
            receiver.count("grpc", "ok");
            let partial_success = outcome.partial_success().map(|(rejected_spans, error_message)| {
                ExportTracePartialSuccess { rejected_spans, error_message }
            });
            Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success }))
        })
    }
}
