//! The server against clients that behave and clients that do not, over real sockets.

use super::*;
use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// Says when the handler that holds it was dropped before its end.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Running {
    addr: SocketAddr,
    shutdown: Shutdown,
    server: JoinHandle<Drained>,
    /// A `/forever` request was begun, and dropped.
    begun: Arc<AtomicBool>,
    dropped: Arc<AtomicBool>,
}

fn start(options: ServeOptions) -> Running {
    let (begun, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begins, drops) = (Arc::clone(&begun), Arc::clone(&dropped));
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: AxumBody| async { body }))
        .route(
            "/slow",
            get(|| async {
                sleep(Duration::from_millis(300)).await;
                "done"
            }),
        )
        .route(
            "/forever",
            get(|| async move {
                let _guard = Dropped(drops);
                begins.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }),
        );
    let listener = crate::listen("test.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = Shutdown::manual();
    let server = tokio::spawn(serve(listener, router, shutdown.clone(), options));
    Running { addr, shutdown, server, begun, dropped }
}

fn quick() -> ServeOptions {
    ServeOptions { header_read_timeout: Duration::from_millis(200), ..ServeOptions::default() }
}

/// Sends `text` and returns all that comes until the server closes.
async fn exchange(addr: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(text).await.unwrap();
    read_all(stream).await
}

async fn read_all(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is a close as well; what came before it counts.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn until(flag: &AtomicBool) {
    let set = async {
        while !flag.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, set).await.unwrap();
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_on_one_port() {
    let running = start(ServeOptions::default());
    let answer = exchange(running.addr, b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");

    let stream = TcpStream::connect(running.addr).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let large = Bytes::from(vec![7_u8; 3 << 20]);
    let request = http::Request::post("http://t/echo").body(Full::new(large.clone())).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), large);
}

#[tokio::test]
async fn a_head_that_arrives_byte_by_byte_is_understood() {
    let running = start(ServeOptions::default());
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    for byte in b"PUT / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_millis(2)).await;
    }
    let answer = read_all(stream).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test]
async fn slow_heads_are_not_waited_for() {
    let running = start(quick());
    for begin in [
        "",
        "P",
        "PR",
        "G",
        "GET / HTTP/1.1\r\nhost: t\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let started = Instant::now();
        exchange(running.addr, begin.as_bytes()).await;
        assert!(started.elapsed() < Duration::from_secs(5), "{begin:?} was waited for");
    }
    // Nor are idle connections kept, but requests within the time are answered on one.
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read_all(stream).await.matches("hello").count(), 3);
}

#[tokio::test]
async fn heads_are_limited_in_size_and_number() {
    let running =
        start(ServeOptions { max_header_bytes: 16 * 1024, max_headers: 20, ..ServeOptions::default() });
    let big = format!("GET / HTTP/1.1\r\nhost: t\r\nx-big: {}\r\n\r\n", "a".repeat(32 * 1024));
    assert!(exchange(running.addr, big.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nhost: t\r\n{}\r\n", "x-many: 1\r\n".repeat(40));
    assert!(exchange(running.addr, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let fits = "GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    assert!(exchange(running.addr, fits.as_bytes()).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_not_http_is_turned_away_and_harms_nobody() {
    let running = start(quick());
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..], b"\0\0\0\0", b"hello there\r\n\r\n"] {
        let answer = exchange(running.addr, garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert!(!running.server.is_finished());
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let running = start(ServeOptions::default());
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(b"GET /forever HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    until(&running.begun).await;
    assert!(!running.dropped.load(Ordering::SeqCst));
    drop(stream);
    until(&running.dropped).await;
}

#[tokio::test]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let running = start(ServeOptions::default());
    let mut idle = TcpStream::connect(running.addr).await.unwrap();
    let busy = tokio::spawn(exchange(running.addr, b"GET /slow HTTP/1.1\r\nhost: t\r\n\r\n"));
    sleep(Duration::from_millis(100)).await;
    running.shutdown.trigger();
    let answer = busy.await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(timeout(PATIENCE, running.server).await.unwrap().unwrap(), Drained { cut: 0 });
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0, "an idle connection is closed");
    assert!(TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn what_still_runs_at_the_deadline_is_cut() {
    let running =
        start(ServeOptions { drain_deadline: Duration::from_millis(100), ..ServeOptions::default() });
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    stream.write_all(b"GET /forever HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    until(&running.begun).await;
    running.shutdown.trigger();
    assert_eq!(timeout(PATIENCE, running.server).await.unwrap().unwrap(), Drained { cut: 1 });
    assert!(running.dropped.load(Ordering::SeqCst));
}
