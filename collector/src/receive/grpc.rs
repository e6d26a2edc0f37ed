//! OTLP over gRPC: `TraceService/Export`, `LogsService/Export`, and a clear answer for the services that are not here.
//!
//! The service is written by hand around tonic's codec, for two reasons: senders are known by their headers before a message
//! is read, and spans are decoded one by one (see `wire`). A message comes out of tonic as it is on the wire, to be decoded
//! when there is room for what it becomes.

use super::compression::Compression;
use super::status::Refusal;
use super::{Receiver, Signal, body, wire};
use crate::auth::Principal;
use crate::ingest::Outcome;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::{Buf, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use runtime::Room;
use std::future::Future;
use std::pin::Pin;
use tonic::Code;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings};
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstEncoder;

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Smaller messages are decoded where they are; larger ones would hold up other requests.
const INLINE_BYTES: usize = 64 * 1024;

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
    let mut grpc = Grpc::new(Undecoded)
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
    Ok((Request::from_parts(head, Body::from(message)), Rooms { came, unfolded }))
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
    came: Room,
    unfolded: Option<Room>,
}

/// Answers are encoded, messages stay as they come.
struct Undecoded;

impl Codec for Undecoded {
    type Encode = ExportTraceServiceResponse;
    type Decode = Bytes;
    type Encoder = ProstEncoder<ExportTraceServiceResponse>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Undecoded {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

impl UnaryService<Bytes> for Export {
    type Response = ExportTraceServiceResponse;
    type Future =
        Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, tonic::Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (signal, rooms) = (self.signal, self.rooms.take());
        let (receiver, principal) = (self.receiver.clone(), self.principal.clone());
        Box::pin(async move {
            let taken = take(&receiver, principal, signal, request.into_inner(), rooms).await;
            let outcome = taken.map_err(|refusal| {
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

/// Decodes a message once there is room for what it becomes, and takes it in.
async fn take(
    receiver: &Receiver,
    principal: Principal,
    signal: Signal,
    message: Bytes,
    rooms: Option<Rooms>,
) -> Result<Outcome, Refusal> {
    let retry_after = receiver.ingest.retry_after();
    let mut rooms = rooms.ok_or_else(|| body::no_room(retry_after))?;
    let is_long = message.len() > INLINE_BYTES;
    let weigh = move || {
        let decoded =
            wire::weigh_protobuf(&message).map_err(|error| Refusal::too_large(error.to_string()))?;
        Ok((message, decoded))
    };
    let (message, decoded) = body::off_thread(is_long, retry_after, weigh).await?;
    // Now that it is known how large the message is, others may have the rest.
    let weight = body::weight(message.len()).saturating_add(decoded);
    body::fit(rooms.unfolded.as_mut().unwrap_or(&mut rooms.came), weight, retry_after).await?;
    let decode = move || wire::from_protobuf(signal, message).map_err(Refusal::invalid);
    let request = body::off_thread(is_long, retry_after, decode).await?;
    let outcome = receiver.ingest.export(principal, signal, request).await;
    outcome.map_err(|error| Refusal::ingest(&error, retry_after))
}
