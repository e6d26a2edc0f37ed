//! Mock OpenAI upstream, one thread. Settings can be changed while it runs:
//!   GET /control?chunks=20&delay_ms=0&first_ms=0&flush=1&content_bytes=600
//!   GET /stats (and /stats?reset=1)
//! POST /v1/chat/completions, POST /v1/embeddings, POST /v1/traces (swallowed), GET /v1/models.
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

#[derive(Clone, Copy, Debug)]
struct Cfg {
    chunks: usize,
    delay: Duration,
    first: Duration,
    flush: bool,
    content_bytes: usize,
}
#[derive(Default, Debug)]
struct Stats {
    chat: u64,
    streams: u64,
    streams_done: u64,
    live: u64,
    peak_live: u64,
    other: u64,
    bad: u64,
    conns: u64,
    with_usage: u64,
    traces: u64,
}
struct State {
    cfg: RefCell<Cfg>,
    stats: RefCell<Stats>,
    body: RefCell<Bytes>,
    ev: RefCell<Rc<Events>>,
}
struct Events {
    first: Bytes,
    mid: Vec<Bytes>,
    stop: Bytes,
    usage: Bytes,
    done: Bytes,
}
const WORDS: [&str; 16] = [
    "the", " gateway", " forwards", " each", " token", " to", " its", " client", " as", " soon",
    " as", " it", " arrives", " from", " the", " model",
];
fn make(cfg: &Cfg) -> (Bytes, Rc<Events>) {
    let mut content = String::new();
    let mut i = 0;
    while content.len() < cfg.content_bytes {
        content.push_str(WORDS[i % 16]);
        i += 1;
    }
    let n = cfg.chunks;
    let body = serde_json::json!({
        "id":"chatcmpl-mock0000000000000000000001","object":"chat.completion","created":1760000000,
        "model":"gpt-4o-mini-2024-07-18",
        "choices":[{"index":0,"message":{"role":"assistant","content":content,"refusal":null,"annotations":[]},
            "logprobs":null,"finish_reason":"stop"}],
        "usage":{"prompt_tokens":19,"completion_tokens":i,"total_tokens":19+i,
            "prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},
        "service_tier":"default","system_fingerprint":"fp_mock0000"});
    let ev = |delta: serde_json::Value, fin: serde_json::Value| {
        Bytes::from(format!(
            "data: {}\n\n",
            serde_json::json!({"id":"chatcmpl-mock0000000000000000000001","object":"chat.completion.chunk",
              "created":1760000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_mock0000",
              "choices":[{"index":0,"delta":delta,"logprobs":null,"finish_reason":fin}]})
        ))
    };
    let null = serde_json::Value::Null;
    let events = Events {
        first: ev(
            serde_json::json!({"role":"assistant","content":"","refusal":null}),
            null.clone(),
        ),
        mid: (0..16)
            .map(|i| ev(serde_json::json!({"content":WORDS[i]}), null.clone()))
            .collect(),
        stop: ev(serde_json::json!({}), serde_json::json!("stop")),
        usage: Bytes::from(format!(
            "data: {}\n\n",
            serde_json::json!({"id":"chatcmpl-mock0000000000000000000001","object":"chat.completion.chunk",
            "created":1760000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_mock0000",
            "choices":[],"usage":{"prompt_tokens":19,"completion_tokens":n,"total_tokens":19+n}})
        )),
        done: Bytes::from_static(b"data: [DONE]\n\n"),
    };
    (Bytes::from(serde_json::to_vec(&body).unwrap()), Rc::new(events))
}

/// role event, N content events, stop event, [usage event], [DONE]
struct SseBody {
    st: Rc<State>,
    ev: Rc<Events>,
    cfg: Cfg,
    usage: bool,
    idx: usize,
    start: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    yielded: bool,
    finished: bool,
}
impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let me = &mut *self;
        let n = me.cfg.chunks;
        let total = n + 3 + me.usage as usize;
        if me.idx >= total {
            if !me.finished {
                me.finished = true;
                let mut s = me.st.stats.borrow_mut();
                s.streams_done += 1;
            }
            return Poll::Ready(None);
        }
        let content = me.idx >= 1 && me.idx <= n;
        if content && !me.cfg.delay.is_zero() {
            let due = me.start + me.cfg.delay * (me.idx as u32);
            if me.sleep.is_none() {
                me.sleep = Some(Box::pin(tokio::time::sleep_until(due)));
                me.yielded = false;
            } else if !me.yielded {
            }
            let s = me.sleep.as_mut().unwrap();
            if s.deadline() != due {
                s.as_mut().reset(due);
            }
            if s.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        } else if me.cfg.flush && me.idx > 0 && me.idx <= n + 1 {
            // give hyper a reason to write out what it holds: one write for each event
            if !me.yielded {
                me.yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            me.yielded = false;
        }
        let i = me.idx;
        me.idx += 1;
        let b = if i == 0 {
            me.ev.first.clone()
        } else if i <= n {
            me.ev.mid[(i - 1) % 16].clone()
        } else if i == n + 1 {
            me.ev.stop.clone()
        } else if me.usage && i == n + 2 {
            me.ev.usage.clone()
        } else {
            me.ev.done.clone()
        };
        Poll::Ready(Some(Ok(Frame::data(b))))
    }
}
impl Drop for SseBody {
    fn drop(&mut self) {
        self.st.stats.borrow_mut().live -= 1;
    }
}
enum MyBody {
    Full(Full<Bytes>),
    Sse(SseBody),
}
impl Body for MyBody {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            MyBody::Full(f) => Pin::new(f).poll_frame(cx),
            MyBody::Sse(s) => Pin::new(s).poll_frame(cx),
        }
    }
    fn is_end_stream(&self) -> bool {
        match self {
            MyBody::Full(f) => f.is_end_stream(),
            MyBody::Sse(_) => false,
        }
    }
    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            MyBody::Full(f) => f.size_hint(),
            MyBody::Sse(_) => http_body::SizeHint::default(),
        }
    }
}
#[derive(serde::Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}
#[derive(serde::Deserialize)]
struct ChatReq {
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}
fn json(status: StatusCode, b: Bytes) -> Response<MyBody> {
    let mut r = Response::new(MyBody::Full(Full::new(b)));
    *r.status_mut() = status;
    r.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    r
}
async fn handle(req: Request<Incoming>, st: Rc<State>) -> Result<Response<MyBody>, Infallible> {
    let path = req.uri().path();
    // some gateways keep or drop the /v1 prefix
    if req.method() == Method::POST && path.ends_with("/chat/completions") {
        let b = match req.into_body().collect().await {
            Ok(b) => b.to_bytes(),
            Err(_) => {
                st.stats.borrow_mut().bad += 1;
                return Ok(json(StatusCode::BAD_REQUEST, Bytes::from_static(b"{}")));
            }
        };
        let r: ChatReq = match serde_json::from_slice(&b) {
            Ok(r) => r,
            Err(_) => {
                st.stats.borrow_mut().bad += 1;
                return Ok(json(
                    StatusCode::BAD_REQUEST,
                    Bytes::from_static(b"{\"error\":{\"message\":\"bad json\"}}"),
                ));
            }
        };
        let cfg = *st.cfg.borrow();
        st.stats.borrow_mut().chat += 1;
        if !cfg.first.is_zero() {
            tokio::time::sleep(cfg.first).await;
        }
        if r.stream == Some(true) {
            let usage = r
                .stream_options
                .and_then(|o| o.include_usage)
                .unwrap_or(false);
            {
                let mut s = st.stats.borrow_mut();
                s.streams += 1;
                s.live += 1;
                s.peak_live = s.peak_live.max(s.live);
                s.with_usage += usage as u64;
            }
            let ev = st.ev.borrow().clone();
            let mut resp = Response::new(MyBody::Sse(SseBody {
                st: st.clone(),
                ev,
                cfg,
                usage,
                idx: 0,
                start: Instant::now(),
                sleep: None,
                yielded: false,
                finished: false,
            }));
            let h = resp.headers_mut();
            h.insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/event-stream; charset=utf-8"),
            );
            h.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return Ok(resp);
        }
        let body = st.body.borrow().clone();
        return Ok(json(StatusCode::OK, body));
    }
    if path.ends_with("/embeddings") {
        let _ = req.into_body().collect().await;
        st.stats.borrow_mut().other += 1;
        let v: Vec<f32> = (0..64).map(|i| (i as f32) / 64.0).collect();
        let j = serde_json::json!({"object":"list","data":[{"object":"embedding","index":0,"embedding":v}],
            "model":"text-embedding-3-small","usage":{"prompt_tokens":5,"total_tokens":5}});
        return Ok(json(StatusCode::OK, serde_json::to_vec(&j).unwrap().into()));
    }
    if path.ends_with("/traces") {
        // an OTLP sink: a gateway that exports its traces has somewhere to send them
        let _ = req.into_body().collect().await;
        st.stats.borrow_mut().traces += 1;
        let mut r = Response::new(MyBody::Full(Full::new(Bytes::new())));
        r.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        return Ok(r);
    }
    if path.ends_with("/models") {
        st.stats.borrow_mut().other += 1;
        return Ok(json(
            StatusCode::OK,
            Bytes::from_static(br#"{"object":"list","data":[{"id":"gpt-4o-mini","object":"model","created":1760000000,"owned_by":"mock"}]}"#),
        ));
    }
    if path == "/control" {
        let q = req.uri().query().unwrap_or("");
        let mut c = *st.cfg.borrow();
        for kv in q.split('&') {
            let (k, v) = kv.split_once('=').unwrap_or((kv, ""));
            let Ok(n) = v.parse::<u64>() else { continue };
            match k {
                "chunks" => c.chunks = n as usize,
                "delay_ms" => c.delay = Duration::from_millis(n),
                "first_ms" => c.first = Duration::from_millis(n),
                "flush" => c.flush = n != 0,
                "content_bytes" => c.content_bytes = n as usize,
                _ => {}
            }
        }
        let (b, e) = make(&c);
        *st.cfg.borrow_mut() = c;
        *st.body.borrow_mut() = b;
        *st.ev.borrow_mut() = e;
        return Ok(json(StatusCode::OK, format!("{c:?}\n").into()));
    }
    if path == "/stats" {
        let s = format!("{:?}\n", st.stats.borrow());
        if req.uri().query() == Some("reset=1") {
            let mut x = st.stats.borrow_mut();
            let live = x.live;
            *x = Stats { live, peak_live: live, ..Default::default() };
        }
        return Ok(json(StatusCode::OK, s.into()));
    }
    st.stats.borrow_mut().bad += 1;
    Ok(json(StatusCode::NOT_FOUND, Bytes::from_static(b"{\"error\":{\"message\":\"not found\"}}")))
}
fn main() {
    let mut addr: std::net::SocketAddr = "127.0.0.1:9000".parse().unwrap();
    let mut cfg = Cfg {
        chunks: 20,
        delay: Duration::ZERO,
        first: Duration::ZERO,
        flush: true,
        content_bytes: 400,
    };
    let mut it = std::env::args().skip(1);
    while let Some(a) = it.next() {
        let v = it.next().unwrap_or_default();
        let n = || v.parse::<u64>().expect("number");
        match a.as_str() {
            "--addr" => addr = v.parse().expect("addr"),
            "--chunks" => cfg.chunks = n() as usize,
            "--delay-ms" => cfg.delay = Duration::from_millis(n()),
            "--first-ms" => cfg.first = Duration::from_millis(n()),
            "--flush" => cfg.flush = n() != 0,
            "--content-bytes" => cfg.content_bytes = n() as usize,
            _ => panic!("unknown flag {a}"),
        }
    }
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    let (b, e) = make(&cfg);
    eprintln!("mock on {addr}: {cfg:?}, non-stream body {} bytes, event {} bytes", b.len(), e.mid[0].len());
    let st = Rc::new(State {
        cfg: RefCell::new(cfg),
        stats: Default::default(),
        body: RefCell::new(b),
        ev: RefCell::new(e),
    });
    local.block_on(&rt, async move {
        let s = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        s.set_reuse_address(true).unwrap();
        s.bind(&addr.into()).unwrap();
        s.listen(4096).unwrap();
        s.set_nonblocking(true).unwrap();
        let l = tokio::net::TcpListener::from_std(s.into()).unwrap();
        loop {
            let Ok((c, _)) = l.accept().await else { continue };
            let _ = c.set_nodelay(true);
            let st = st.clone();
            st.stats.borrow_mut().conns += 1;
            tokio::task::spawn_local(async move {
                let svc = service_fn(move |r| handle(r, st.clone()));
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(c), svc)
                    .await;
            });
        }
    });
}
