//! OTLP over HTTP.

use super::super::status::{RetryInfo, Status};
use super::*;
use flate2::write::{GzEncoder, ZlibEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use proptest::prelude::*;
use std::io::Write;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const AUTH: (&str, &str) = ("x-api-key", KEY);

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn protobuf_in_every_compression_is_answered_in_protobuf() {
    let tower = Tower::start();
    let body = |number| request(vec![span(number, Vec::new())]).encode_to_vec();
    for (encoding, body) in [
        ("identity", body(1)),
        ("gzip", gzip(&body(2))),
        ("zstd", zstd::encode_all(&body(3)[..], 1).unwrap()),
        ("deflate", deflate(&body(4))),
    ] {
        let answer = tower.post("/v1/traces", &[AUTH, PROTOBUF, ("content-encoding", encoding)], body).await;
        assert_eq!(answer.status, StatusCode::OK, "{encoding}: {:?}", answer.body);
        assert_eq!(answer.protobuf::<ExportTraceServiceResponse>().partial_success, None);
    }
    let rows = tower.finish().await;
    assert_eq!(names(&rows), ["span 1", "span 2", "span 3", "span 4"]);
    assert!(rows.iter().all(|row| row.tenant_id == "acme" && row.retention_days == 7));
}

#[tokio::test]
async fn json_is_answered_in_json() {
    let tower = Tower::start();
    let body = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"app"}}]},
        "scopeSpans":[{"scope":{"name":"lib"},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
        "name":"json","kind":3,"startTimeUnixNano":"1789999999000000000","endTimeUnixNano":"1789999999500000000",
        "attributes":[{"key":"gen_ai.usage.input_tokens","value":{"intValue":"7"}}],"status":{"code":2}}]}]}],"unknown":1}"#;
    let answer =
        tower.post("/v1/traces", &[AUTH, ("content-type", "application/json; charset=utf-8")], body).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, serde_json::json!({})));
    let nameless =
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"EEE19B7EC3C1B174"}]}]}]}"#;
    let partial = tower.post("/v1/traces", &[AUTH, JSON], nameless).await.json();
    assert_eq!(partial["partialSuccess"]["rejectedSpans"], "1");
    let rows = tower.finish().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].trace_id, "5b8efff798038103d269b633813fc60c");
    assert_eq!(
        (rows[0].service_name.as_str(), rows[0].input_tokens, rows[0].duration_ns),
        ("app", 7, 500_000_000)
    );
}

#[tokio::test]
async fn who_is_not_known_gets_401_before_the_body_is_read() {
    let tower = Tower::start();
    for (headers, message) in [
        (vec![PROTOBUF], "no API key"),
        (vec![PROTOBUF, ("x-api-key", "ct-other")], "not known"),
        (vec![PROTOBUF, ("authorization", "Bearer ct-other")], "not known"),
        (vec![PROTOBUF, AUTH, (SERVICE_KEY_HEADER, "wrong")], "service_key"),
    ] {
        let answer = tower.post("/v1/traces", &headers, "not even protobuf").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let status: Status = answer.protobuf();
        assert_eq!(status.code, tonic::Code::Unauthenticated as i32);
        assert!(status.message.contains(message), "{}", status.message);
    }
    assert!(tower.finish().await.is_empty());
}

#[tokio::test]
async fn bad_requests_get_a_status_in_their_own_encoding() {
    let tower =
        Tower::with(Kept::default(), |config| Config { max_decompressed: ByteSize::mib(1), ..config });
    for (headers, body, http, code, message) in [
        (vec![AUTH, PROTOBUF], b"\xff\xff\xff".to_vec(), 400, 3, "not a valid ExportTraceServiceRequest"),
        (vec![AUTH, PROTOBUF, ("content-encoding", "gzip")], b"no gzip".to_vec(), 400, 3, "not valid gzip"),
        (vec![AUTH, PROTOBUF, ("content-encoding", "br")], Vec::new(), 415, 3, "expected gzip, zstd"),
        (
            vec![AUTH, PROTOBUF, ("content-encoding", "gzip")],
            gzip(&vec![0; 1 << 30]),
            413,
            8,
            "when decompressed",
        ),
        (
            vec![AUTH, PROTOBUF, ("content-encoding", "zstd")],
            zstd::encode_all(&vec![0; 64 << 20][..], 1).unwrap(),
            413,
            8,
            "when decompressed",
        ),
        (vec![AUTH, PROTOBUF], vec![0; 17 << 20], 413, 8, "expected at most 16777216"),
    ] {
        let answer = tower.post("/v1/traces", &headers, body).await;
        assert_eq!(answer.status.as_u16(), http, "{message}");
        let status: Status = answer.protobuf();
        assert_eq!(status.code, code);
        assert!(status.message.contains(message), "{}", status.message);
        assert!(answer.headers.get("retry-after").is_none());
    }
    let answer = tower.post("/v1/traces", &[AUTH, JSON], "{\"resourceSpans\": 1}").await;
    assert_eq!((answer.status, answer.json()["code"].as_i64()), (StatusCode::BAD_REQUEST, Some(3)));
    let answer = tower.post("/v1/traces", &[AUTH, ("content-type", "text/plain")], "hi").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(answer.json()["message"].as_str().unwrap().contains("application/x-protobuf"));
    let answer = tower.post("/v1/metrics", &[AUTH, JSON], "{}").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.json()["message"].as_str().unwrap().contains("only traces and logs"));
    assert!(tower.finish().await.is_empty());
}

#[tokio::test]
async fn a_broken_span_is_rejected_alone() {
    let tower = Tower::start();
    // Spans are field 2 of ScopeSpans, which is field 2 of ResourceSpans, which is field 1 of the request.
    let mut scope_spans = Vec::new();
    let nameless = Span { trace_id: Vec::new(), ..span(2, Vec::new()) };
    // Field 5, the name, is not UTF-8.
    let broken = [&[0x2a, 2, 0xff, 0xfe][..], &span(3, Vec::new()).encode_to_vec()].concat();
    for body in [
        span(1, Vec::new()).encode_to_vec(),
        nameless.encode_to_vec(),
        broken,
        span(4, Vec::new()).encode_to_vec(),
    ] {
        prost::encoding::bytes::encode(2, &body, &mut scope_spans);
    }
    let (mut resource_spans, mut body) = (Vec::new(), Vec::new());
    prost::encoding::bytes::encode(2, &scope_spans, &mut resource_spans);
    prost::encoding::bytes::encode(1, &resource_spans, &mut body);
    let answer = tower.post("/v1/traces", &[AUTH, PROTOBUF], body).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = answer.protobuf::<ExportTraceServiceResponse>().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert!(partial.error_message.contains("trace_id is not valid"), "{}", partial.error_message);
    assert!(partial.error_message.contains("not valid protobuf"), "{}", partial.error_message);
    assert_eq!(names(&tower.finish().await), ["span 1", "span 4"]);
}

#[tokio::test]
async fn a_span_of_ten_megabytes_and_spans_of_1970_and_2100_leave_their_neighbours_alone() {
    let tower = Tower::start();
    let big = attribute("gen_ai.input.messages", &"x".repeat(10 << 20));
    let old = Span { start_time_unix_nano: 1, end_time_unix_nano: 5, ..span(3, Vec::new()) };
    let late = 4_102_444_800_000_000_000;
    let future = Span { start_time_unix_nano: late, end_time_unix_nano: late + 9, ..span(4, Vec::new()) };
    let answer = tower.export(&request(vec![span(1, Vec::new()), span(2, vec![big]), old, future])).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = answer.protobuf::<ExportTraceServiceResponse>().partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.contains("1 cut down")), (0, true));
    let rows = tower.finish().await;
    assert_eq!(names(&rows), ["span 1", "span 2", "span 3", "span 4"]);
    assert_eq!(rows[1].input_messages, "");
    assert_eq!((rows[2].duration_ns, rows[3].duration_ns), (4, 9));
    assert!(rows.iter().all(|row| row.start_time / 1_000_000_000 >= NOW_S - 1), "moved to now");
}

#[tokio::test]
async fn only_a_service_speaks_for_others_and_discreet_tenants_keep_metadata() {
    let tower = Tower::start();
    let spans = |number| {
        let attributes = [
            ("control_tower.tenant.id", "globex"),
            ("control_tower.record", "call"),
            ("gen_ai.input.messages", "[\"secret\"]"),
        ];
        request(vec![span(number, attributes.map(|(key, text)| attribute(key, text)).into())]).encode_to_vec()
    };
    for (key, number) in [((SERVICE_KEY_HEADER, SERVICE_KEY), 1), (AUTH, 2), (("api-key", "ct-discreet"), 3)]
    {
        let answer = tower.post("/v1/traces", &[key, PROTOBUF], spans(number)).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let rows = tower.finish().await;
    let seen: Vec<_> =
        rows.iter().map(|r| (r.tenant_id.as_str(), r.record.as_str(), r.input_messages.as_str())).collect();
    assert_eq!(
        seen,
        [("globex", "call", "[\"secret\"]"), ("acme", "", "[\"secret\"]"), ("discreet", "", "")]
    );
}

#[tokio::test]
async fn a_full_spool_asks_to_come_again_and_what_was_taken_is_kept() {
    let kept = Kept { down: true, ..Kept::default() };
    let small = |config| Config { spool_max: ByteSize::mib(4), spool_segment: ByteSize::mib(1), ..config };
    let tower = Tower::with(kept, small);
    let mut taken = 0;
    let refused = loop {
        // Incompressible, a MiB each.
        let body = request(vec![span(taken + 1, vec![attribute("k", &"x".repeat(1 << 20))])]);
        let answer = tower.export(&body).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        taken += 1;
        assert!(taken < 10, "the spool holds 4 MiB");
    };
    assert!(taken >= 1);
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "5");
    let status: Status = refused.protobuf();
    assert_eq!(status.code, tonic::Code::Unavailable as i32);
    let info = RetryInfo::decode(&status.details[0].value[..]).unwrap();
    assert_eq!(info.retry_delay.unwrap().seconds, 5);
}

#[tokio::test]
async fn a_small_body_that_becomes_large_is_weighed_by_what_it_becomes() {
    let tower = Tower::with(Kept::default(), |config| Config {
        max_request: ByteSize::mib(1),
        max_decompressed: ByteSize::mib(4),
        max_in_flight: ByteSize::mib(4),
        ..config
    });
    let large = request(vec![span(1, vec![attribute("k", &"x".repeat(1 << 20))])]).encode_to_vec();
    let packed = zstd::encode_all(&large[..], 3).unwrap();
    assert!(packed.len() < 1024);
    let headers = [
        ("authorization", "Bearer ct-tenant"),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "zstd"),
    ];
    // Each takes all the room while it is decompressed, one after the other, and gives it back.
    let post = || tower.post("/v1/traces", &headers, packed.clone());
    let answers: [Answer; 4] = tokio::join!(post(), post(), post(), post()).into();
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    tower.finish().await;
}

#[tokio::test]
async fn health_and_metrics_stand_beside() {
    let tower = Tower::start();
    tower.export(&request(vec![span(1, Vec::new())])).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    for _ in 0..200 {
        let uri = format!("http://{}/readyz", tower.collector.http_addr).parse().unwrap();
        if client.get(uri).await.unwrap().status() == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let get = async |path: &str| {
        let uri = format!("http://{}{path}", tower.collector.http_addr).parse().unwrap();
        let response = client.get(uri).await.unwrap();
        (response.status(), String::from_utf8(response.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    assert_eq!(get("/readyz").await.0, StatusCode::OK);
    assert_eq!(get("/v1/traces").await.0, StatusCode::METHOD_NOT_ALLOWED);
    let metrics = get("/metrics").await.1;
    for line in
        ["collector_spans_accepted_total 1", "collector_requests_total{protocol=\"http\",outcome=\"ok\"} 1"]
    {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    tower.finish().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered_and_harm_nobody(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rows = runtime.block_on(async {
            let tower = Tower::start();
            for body in bodies {
                for encoding in ["identity", "gzip", "zstd", "deflate"] {
                    for kind in [PROTOBUF, JSON] {
                        let answer = tower.post("/v1/traces", &[AUTH, kind, ("content-encoding", encoding)], body.clone()).await;
                        assert!(matches!(answer.status.as_u16(), 200 | 400 | 413), "{}", answer.status);
                    }
                }
            }
            assert_eq!(tower.export(&request(vec![span(1, Vec::new())])).await.status, StatusCode::OK);
            tower.finish().await
        });
        prop_assert_eq!(names(&rows), ["span 1"]);
    }
}

/// A field of number and length, as protobuf writes it.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(content.len() as u64, &mut field);
    field.extend_from_slice(content);
    field
}

#[tokio::test]
async fn a_request_of_countless_empty_parts_is_refused_before_it_takes_memory() {
    let tower = Tower::start();
    let scopes = field(1, &[0x12, 0].repeat(4 << 20));
    let resources = [0x0a, 0].repeat(4 << 20);
    let attributes = field(1, &field(1, &[0x0a, 0].repeat(4 << 20)));
    for body in [scopes, resources, attributes] {
        for (encoding, body) in [("gzip", gzip(&body)), ("identity", body)] {
            let headers = [AUTH, PROTOBUF, ("content-encoding", encoding)];
            let answer = tower.post("/v1/traces", &headers, body).await;
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
            let status: Status = answer.protobuf();
            assert!(status.message.contains("more than 100000"), "{}", status.message);
        }
    }
    let objects = format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(1 << 20));
    let answer = tower.post("/v1/traces", &[AUTH, JSON], objects).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.json()["message"].as_str().unwrap().contains("more than 500000 objects"));
    assert!(tower.finish().await.is_empty());
}

#[tokio::test]
async fn a_span_of_countless_empty_parts_keeps_its_metadata() {
    let tower = Tower::with(Kept::default(), |config| Config { max_span: ByteSize::mib(8), ..config });
    // Below the largest span by its bytes: a million attributes, events or links.
    for (number, part) in [(1_u8, 0x4a), (2, 0x5a), (3, 0x6a)] {
        let mut encoded = span(number, vec![attribute("user.id", "u1")]).encode_to_vec();
        encoded.extend([part, 0].repeat(1 << 20));
        let body = field(1, &field(2, &field(2, &encoded)));
        let answer = tower.post("/v1/traces", &[AUTH, PROTOBUF], body).await;
        assert_eq!(answer.status, StatusCode::OK);
        let partial = answer.protobuf::<ExportTraceServiceResponse>().partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 0);
        assert!(partial.error_message.contains("cut down"), "{}", partial.error_message);
    }
    let rows = tower.finish().await;
    assert_eq!(names(&rows), ["span 1", "span 2", "span 3"]);
    for row in rows {
        assert!(row.span_attributes.iter().any(|(_, text)| text == "u1"));
        assert!(row.event_name.len() <= 256 && row.link_span_id.len() <= 256);
    }
}
