//! OTLP over gRPC, with the client that the OpenTelemetry project generates.

use super::super::status::{RetryInfo, Status};
use super::*;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request};

async fn client(tower: &Tower) -> TraceServiceClient<Channel> {
    TraceServiceClient::connect(format!("http://{}", tower.collector.grpc_addr)).await.unwrap()
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

#[tokio::test]
async fn spans_arrive_in_every_compression() {
    let tower = Tower::start();
    let plain = client(&tower).await;
    for (number, mut client) in [
        (1, plain.clone()),
        (2, plain.clone().send_compressed(CompressionEncoding::Gzip)),
        (3, plain.send_compressed(CompressionEncoding::Zstd)),
    ] {
        let answer = client.export(with_key(request(vec![span(number, Vec::new())]), KEY)).await.unwrap();
        assert_eq!(answer.into_inner().partial_success, None);
    }
    assert_eq!(names(&tower.finish().await), ["span 1", "span 2", "span 3"]);
}

#[tokio::test]
async fn a_service_key_and_partial_success_work_as_over_http() {
    let tower = Tower::start();
    let mut message = Request::new(request(vec![
        span(1, vec![attribute("control_tower.tenant.id", "globex")]),
        span(2, Vec::new()),
    ]));
    message.metadata_mut().insert(SERVICE_KEY_HEADER, SERVICE_KEY.parse().unwrap());
    let partial = client(&tower).await.export(message).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("control_tower.tenant.id"));
    let rows = tower.finish().await;
    assert_eq!((names(&rows), rows[0].tenant_id.as_str()), (vec!["span 1"], "globex"));
}

#[tokio::test]
async fn refusals_have_the_codes_that_otlp_knows() {
    let tower =
        Tower::with(Kept::default(), |config| Config { max_decompressed: ByteSize::mib(1), ..config });
    let mut client = client(&tower).await;
    let status = client.export(Request::new(request(Vec::new()))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let status = client.export(with_key(request(Vec::new()), "ct-other")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "the API key is not known"));

    let bomb = request(vec![span(1, vec![attribute("k", &"x".repeat(8 << 20))])]);
    let mut zipped = client.clone().send_compressed(CompressionEncoding::Gzip);
    let status = zipped.export(with_key(bomb, KEY)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let hints =
        if status.details().is_empty() { 0 } else { Status::decode(status.details()).unwrap().details.len() };
    assert_eq!(hints, 0, "no hint to try again");

    // A frame of two bytes: field 1, of nine bytes that are not there.
    let frame = vec![0, 0, 0, 0, 2, 0x0a, 9];
    let uri = format!(
        "http://{}/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        tower.collector.grpc_addr
    );
    let post = http::Request::post(uri).header("content-type", "application/grpc").header("x-api-key", KEY);
    let raw = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let answer = raw
        .request(post.header("te", "trailers").body(Full::new(Bytes::from(frame))).unwrap())
        .await
        .unwrap();
    let status = tonic::Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");

    let countless = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans::default(); 200_000] };
    let status = client.export(with_key(countless, KEY)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("more than 100000"), "{status:?}");
    assert!(tower.finish().await.is_empty());
}

#[tokio::test]
async fn a_full_spool_says_when_to_come_again() {
    let kept = Kept { down: true, ..Kept::default() };
    let small = |config| Config { spool_max: ByteSize::mib(4), spool_segment: ByteSize::mib(1), ..config };
    let tower = Tower::with(kept, small);
    let mut client = client(&tower).await;
    let status = loop {
        let body = request(vec![span(1, vec![attribute("k", &"x".repeat(1 << 20))])]);
        if let Err(status) = client.export(with_key(body, KEY)).await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
    let details = Status::decode(status.details()).unwrap();
    assert_eq!(details.code, Code::Unavailable as i32);
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let info = RetryInfo::decode(&details.details[0].value[..]).unwrap();
    assert_eq!(info.retry_delay.unwrap().seconds, 5);
}
