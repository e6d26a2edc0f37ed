//! A model's server that plays a script, byte for byte, over real TCP.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Request line and headers, as text.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What to do next on a connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// Send these bytes in one write.
    Send(Vec<u8>),
    /// Pause.
    Wait(Duration),
    /// Wait until another step opens this.
    Until(Arc<Semaphore>),
    /// Let one pass who waits for this.
    Open(Arc<Semaphore>),
    /// Close the connection.
    Close,
    /// Do nothing until the other side closes; its time is reported.
    Hang,
}

type Script = dyn Fn(&Received) -> Vec<Step> + Send + Sync;

/// A running upstream.
pub struct Upstream {
    /// Where it listens.
    pub addr: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    closed: mpsc::UnboundedReceiver<Instant>,
}

impl Upstream {
    /// Answers each request as `script` says.
    pub async fn start(script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (tell, closed) = mpsc::unbounded_channel();
        let script: Arc<Script> = Arc::new(script);
        let log = received.clone();
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, number, script.clone(), log.clone(), tell.clone()));
                number += 1;
            }
        });
        Self { addr, received, closed }
    }

    /// Always answers so.
    pub async fn always(steps: Vec<Step>) -> Self {
        Self::start(move |_| steps.clone()).await
    }

    /// The requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// When the other side closed a connection on which the script hung.
    pub async fn closed(&mut self) -> Instant {
        tokio::time::timeout(Duration::from_secs(5), self.closed.recv())
            .await
            .expect("the upstream's connection is closed within 5 s")
            .unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Received>>>,
    tell: mpsc::UnboundedSender<Instant>,
) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(mut request) = read_request(&mut stream, &mut buffer).await {
        request.connection = connection;
        let steps = script(&request);
        log.lock().unwrap().push(request);
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        let _ = tell.send(Instant::now());
                        return;
                    }
                }
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Until(gate) => gate.acquire().await.unwrap().forget(),
                Step::Open(gate) => gate.add_permits(1),
                Step::Close => return,
                Step::Hang => {
                    let mut sink = [0; 64];
                    while matches!(stream.read(&mut sink).await, Ok(1..)) {}
                    let _ = tell.send(Instant::now());
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let request = Received { head, body: Vec::new(), connection: 0 };
            let length: usize = request.header("content-length").unwrap_or("0").parse().unwrap();
            let whole = end + 4 + length;
            while buffer.len() < whole {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            let body = buffer[end + 4..whole].to_vec();
            buffer.drain(..whole);
            return Some(Received { body, ..request });
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// A whole answer with JSON.
pub fn json(status: u16, body: &str) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    vec![Step::Send(head.into_bytes())]
}

/// The head of a stream whose end is the end of the connection.
pub fn sse_head() -> Step {
    Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec())
}

/// A stream of these pieces, each a chunk of its own, ended well.
pub fn sse(pieces: &[&[u8]]) -> Vec<Step> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut steps = vec![Step::Send(head.into())];
    for piece in pieces.iter().filter(|p| !p.is_empty()) {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        steps.push(Step::Send(chunk));
    }
    steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
    steps
}
