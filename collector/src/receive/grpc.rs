//! OTLP over gRPC: `TraceService/Export`, `LogsService/Export`, and a clear answer for the services that are not here.
//!
//! The service is written by hand around tonic's codec, for two reasons: senders are known by their headers before a message
//! is read, and spans are decoded one by one (see `wire`).

use super::compression::Compression;
use super::in_flight::Room;
use super::status::Refusal;
use super::{ExportRequest, Receiver, Signal, body};
use crate::auth::Principal;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::future::Future;
use std::pin::Pin;
use tonic::Code;
use tonic::codec::{CompressionEncoding, EnabledCompressionEncodings};
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The gRPC services as a router.
pub fn router(receiver: Receiver) -> Router {
    Router::new()
        .route(TRACES, post(|receiver, request| export(Signal::Traces, receiver, request)))
        .route(LOGS, post(|receiver, request| export(Signal::Logs, receiver, request)))
        .fallback(unimplemented)
        .with_state(receiver)
}

async fn export(signal: Signal, State(receiver): State<Receiver>, request: Request) -> Response {
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
    let (request, rooms) = match read(&receiver, request).await {
        Ok(read) => read,
        Err(refusal) => {
            receiver.count("grpc", refusal.label);
            return respond(refusal.grpc().into_http());
        }
    };
    let mut accept = EnabledCompressionEncodings::default();
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        accept.enable(encoding);
    }
    let mut grpc = Grpc::new(ProstCodec::<ExportTraceServiceResponse, ExportRequest>::default())
        .apply_compression_config(accept, EnabledCompressionEncodings::default())
        .apply_max_message_size_config(Some(receiver.sizes.max_decompressed), None);
    let limit = receiver.sizes.max_decompressed;
    let response = grpc
        .unary(Export { signal, receiver: receiver.clone(), principal, rooms: Some(rooms) }, request)
        .await;
    match unread(response.headers(), limit) {
        Some(refusal) => {
            receiver.count("grpc", refusal.label);
            respond(refusal.grpc().into_http())
        }
        None => respond(response),
    }
}

/// Reads the body before tonic does, so that it is weighed as it comes, and before it is decompressed.
async fn read(receiver: &Receiver, request: Request) -> Result<(Request, Rooms), Refusal> {
    let retry_after = receiver.ingest.retry_after();
    let limit = receiver.sizes.max_decompressed;
    let room = receiver.in_flight.enter(body::weight(body::FIRST_ROOM)).await;
    let mut came = room.ok_or_else(|| body::no_room(retry_after))?;
    let (head, message) = request.into_parts();
    let message = body::read(message, limit + PREFIX, &mut came, retry_after).await?;
    let compression = match message.first() {
        None | Some(0) => Compression::Identity,
        Some(_) => {
            let name = head.headers.get("grpc-encoding").and_then(|name| name.to_str().ok());
            name.and_then(Compression::parse).unwrap_or(Compression::Zstd)
        }
    };
    let unfolded = body::enter_unfolding(receiver, compression, message.len()).await?;
    Ok((Request::from_parts(head, Body::from(message)), Rooms { _came: came, unfolded }))
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
    let message = format!("{path} is not served here: expected {TRACES} or {LOGS}");
    respond(tonic::Status::unimplemented(message).into_http())
}

fn respond(response: http::Response<tonic::body::Body>) -> Response {
    response.map(Body::new)
}

/// One call of one sender.
struct Export {
    signal: Signal,
    receiver: Receiver,
    principal: Principal,
    rooms: Option<Rooms>,
}

/// What a message takes: as it came, and as it becomes when it is compressed.
struct Rooms {
    _came: Room,
    unfolded: Option<Room>,
}

impl UnaryService<ExportRequest> for Export {
    type Response = ExportTraceServiceResponse;
    type Future =
        Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, tonic::Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<ExportRequest>) -> Self::Future {
        let (signal, rooms) = (self.signal, self.rooms.take());
        let (receiver, principal) = (self.receiver.clone(), self.principal.clone());
        Box::pin(async move {
            let retry_after = receiver.ingest.retry_after();
            let mut rooms = rooms.ok_or_else(|| body::no_room(retry_after).grpc())?;
            if let Some(room) = &mut rooms.unfolded {
                // Now that it is known how large the message is, others may have the rest.
                let size = body::weight(request.get_ref().encoded_len());
                body::fit(room, size.min(room.bytes()), retry_after)
                    .await
                    .map_err(|refusal| refusal.grpc())?;
            }
            let outcome = receiver.ingest.export(principal, signal, request.into_inner()).await;
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
