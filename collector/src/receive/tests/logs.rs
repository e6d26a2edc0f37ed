//! Log records over both protocols: the same senders, limits and promises as for spans.

use super::super::status::Status;
use super::*;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use std::io::Write;
use tonic::codec::CompressionEncoding;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const AUTH: (&str, &str) = ("x-api-key", KEY);

fn log(id: &str, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord {
        time_unix_nano: u64::try_from(NOW_S).unwrap() * 1_000_000_000 - 1_000,
        event_name: "e".into(),
        attributes: [vec![attribute("control_tower.event.id", id)], attributes].concat(),
        ..LogRecord::default()
    }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn ids(events: &[EventRow]) -> Vec<&str> {
    events.iter().map(|event| event.event_id.as_str()).collect()
}

#[tokio::test]
async fn protobuf_in_every_compression_and_json_over_http() {
    let tower = Tower::start();
    let body = |id| logs(vec![log(id, Vec::new())]).encode_to_vec();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body("2")).unwrap();
    for (encoding, body) in [
        ("identity", body("1")),
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(&body("3")[..], 1).unwrap()),
    ] {
        let answer = tower.post("/v1/logs", &[AUTH, PROTOBUF, ("content-encoding", encoding)], body).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}: {:?}", answer.body);
        assert_eq!(answer.protobuf::<ExportLogsServiceResponse>().partial_success, None);
    }
    let body = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"app"}}]},
        "scopeLogs":[{"logRecords":[{"timeUnixNano":"1789999999000000000","severityNumber":9,"severityText":"INFO",
        "eventName":"shipped","traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
        "body":{"stringValue":"hello"},"attributes":[{"key":"control_tower.event.id","value":{"stringValue":"4"}},
        {"key":"n","value":{"intValue":"7"}}]}, {"traceId":"00","eventName":"bad"}]}]}]}"#;
    let answer = tower.post("/v1/logs", &[AUTH, JSON], body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["partialSuccess"]["rejectedLogRecords"], "1");
    let events = tower.finish_with_events().await;
    assert_eq!(ids(&events), ["1", "2", "3", "4"]);
    assert!(events.iter().all(|event| event.tenant_id == "acme" && event.retention_days == 7));
    let last = &events[3];
    assert_eq!(
        (last.event_name.as_str(), last.body.as_str(), last.service_name.as_str()),
        ("shipped", "hello", "app")
    );
    assert_eq!((last.severity.as_str(), last.severity_number), ("INFO", 9));
    assert_eq!(last.trace_id, "5b8efff798038103d269b633813fc60c");
    assert_eq!(last.attributes, [("n".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn grpc_takes_logs_beside_traces() {
    let tower = Tower::start();
    let address = format!("http://{}", tower.collector.grpc_addr);
    let plain = LogsServiceClient::connect(address).await.unwrap();
    for (id, mut client) in [
        ("1", plain.clone()),
        ("2", plain.clone().send_compressed(CompressionEncoding::Gzip)),
        ("3", plain.clone().send_compressed(CompressionEncoding::Zstd)),
    ] {
        let mut request = tonic::Request::new(logs(vec![log(id, Vec::new())]));
        request.metadata_mut().insert("x-api-key", KEY.parse().unwrap());
        assert_eq!(client.export(request).await.unwrap().into_inner().partial_success, None);
    }
    let status = plain.clone().export(logs(vec![log("4", Vec::new())])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    // Of a service's records, one that names no tenant is refused alone.
    let named = log("5", vec![attribute("control_tower.tenant.id", "globex")]);
    let mut request = tonic::Request::new(logs(vec![named, log("6", Vec::new())]));
    request.metadata_mut().insert(SERVICE_KEY_HEADER, SERVICE_KEY.parse().unwrap());
    let partial = plain.clone().export(request).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.contains("control_tower.tenant.id"), "{}", partial.error_message);
    let events = tower.finish_with_events().await;
    assert_eq!(ids(&events), ["1", "2", "3", "5"]);
    assert_eq!(events[3].tenant_id, "globex");
}

#[tokio::test]
async fn bad_requests_are_refused_and_name_what_was_expected() {
    let tower =
        Tower::with(Kept::default(), |config| Config { max_decompressed: ByteSize::mib(1), ..config });
    let bomb = zstd::encode_all(&vec![0; 64 << 20][..], 1).unwrap();
    for (headers, body, http, message) in [
        (vec![PROTOBUF], Vec::new(), 401, "no API key"),
        (vec![AUTH, PROTOBUF], b"\xff\xff".to_vec(), 400, "not a valid ExportLogsServiceRequest"),
        (vec![AUTH, PROTOBUF, ("content-encoding", "zstd")], bomb, 413, "when decompressed"),
    ] {
        let answer = tower.post("/v1/logs", &headers, body).await;
        assert_eq!(answer.status.as_u16(), http, "{message}");
        let status: Status = answer.protobuf();
        assert!(status.message.contains(message), "{}", status.message);
    }
    assert!(tower.finish_with_events().await.is_empty());
}

#[tokio::test]
async fn a_broken_log_record_is_rejected_alone() {
    let tower = Tower::start();
    let mut scope_logs = Vec::new();
    // Field 12, the name of the event, is not UTF-8.
    let broken = [&[0x62, 2, 0xff, 0xfe][..], &log("2", Vec::new()).encode_to_vec()].concat();
    let big = log("3", vec![attribute("k", &"x".repeat(10 << 20))]);
    for body in [log("1", Vec::new()).encode_to_vec(), broken, big.encode_to_vec()] {
        prost::encoding::bytes::encode(2, &body, &mut scope_logs);
    }
    let (mut resource_logs, mut body) = (Vec::new(), Vec::new());
    prost::encoding::bytes::encode(2, &scope_logs, &mut resource_logs);
    prost::encoding::bytes::encode(1, &resource_logs, &mut body);
    let answer = tower.post("/v1/logs", &[AUTH, PROTOBUF], body).await;
    let partial = answer.protobuf::<ExportLogsServiceResponse>().partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.contains("1 cut down"), "{}", partial.error_message);
    assert_eq!(ids(&tower.finish_with_events().await), ["1", "3"]);
}

#[tokio::test]
async fn spans_and_log_records_of_one_batch_each_arrive_once() {
    let tower = Tower::start();
    let body = logs(vec![log("1", Vec::new()), log("1", Vec::new()), log("2", Vec::new())]).encode_to_vec();
    for _ in 0..2 {
        tower.export(&request(vec![span(1, Vec::new())])).await;
        assert_eq!(tower.post("/v1/logs", &[AUTH, PROTOBUF], body.clone()).await.status, StatusCode::OK);
    }
    let spans = tower.kept.rows.clone();
    let events = tower.kept.events.clone();
    tower.shutdown.trigger();
    tower.collector.finished().await;
    assert_eq!(names(&spans.lock().unwrap()), ["span 1"]);
    assert_eq!(ids(&events.lock().unwrap()), ["1", "2"]);
}
