//! What the tests of several modules use.

use crate::entry::{Answer, Entry};
use crate::question::{ExactKey, Place, Protocol, Question};
use crate::shared::{SharedOptions, Worker};
use crate::store::{AnswerCache, CacheOptions, Embed, EmbedError};
use bytes::Bytes;
use contracts::policy::cache::{Cache, Guard, Semantic};
use contracts::{Timestamp, TokenUsage, Usd};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// An answer that says `text`.
pub(crate) fn answer(text: &str) -> Answer {
    let body = serde_json::json!({
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
    });
    Answer {
        body: Bytes::from(body.to_string()),
        content_type: "application/json".to_owned(),
        model: "m".to_owned(),
        usage: TokenUsage { input: 10, output: 20, ..TokenUsage::default() },
        cost: Usd::from_picos(5_000_000),
    }
}

pub(crate) fn entry(tenant: &str, key: ExactKey, text: &str) -> Entry {
    Entry {
        tenant: tenant.parse().unwrap(),
        key,
        answer: answer(text),
        created_at: NOW,
        expires_at: Timestamp::from_unix_seconds(NOW.unix_seconds() + 10),
        by_meaning: true,
    }
}

/// The body of a chat request.
pub(crate) fn body(question: &str) -> Vec<u8> {
    serde_json::json!({"model": "m", "messages": [{"role": "user", "content": question}]})
        .to_string()
        .into_bytes()
}

/// A question of a tenant, with so many hashes only.
pub(crate) fn question(
    tenant: &str,
    route: &str,
    text: &str,
    policy: &Cache,
    hashes: Option<u8>,
) -> Question {
    let tenant = tenant.parse().unwrap();
    let place = Place { tenant: &tenant, route, protocol: Protocol::Chat, variant: &[], embedder: "fake" };
    Question::read_weakly(&place, &body(text), policy, hashes).unwrap()
}

/// A policy with everything on, and no guard.
pub(crate) fn policy() -> Cache {
    let semantic = Semantic { threshold: 0.8, guard: Guard::Off, ..Semantic::default() };
    Cache { semantic: Some(semantic), ..Cache::default() }
}

/// An embedder that knows as many meanings as there are first letters: texts that begin alike are near, and the nearer the longer
/// they agree.
#[derive(Debug)]
pub(crate) struct Fake;

impl Embed for Fake {
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        if text == "fail" {
            return Err(EmbedError("told to".into()));
        }
        let mut vector = vec![0.0; 64];
        for (place, byte) in text.bytes().take(8).enumerate() {
            let first = text.as_bytes()[0];
            vector[usize::from(first) % 32] += 1.0;
            vector
                [32 + usize::from(byte.wrapping_mul(31).wrapping_add(u8::try_from(place).unwrap())) % 32] +=
                0.3;
        }
        Ok(Some(vector))
    }
}

/// A cache in one process.
pub(crate) fn cache(max_bytes: usize) -> AnswerCache {
    let options = CacheOptions { max_bytes, embed_wait: Duration::from_mins(1), ..CacheOptions::default() };
    AnswerCache::new(options, Some(Arc::new(Fake)), None).unwrap().0
}

/// A Redis of the test's own, on a free port.
#[derive(Debug)]
pub(crate) struct Redis {
    child: std::process::Child,
    port: u16,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self { child: serve(port), port }
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = serve(self.port);
    }

    /// A gateway's cache that shares through it.
    pub(crate) fn gateway(&self, max_bytes: usize) -> (AnswerCache, Worker) {
        let options =
            CacheOptions { max_bytes, embed_wait: Duration::from_mins(1), ..CacheOptions::default() };
        let shared = SharedOptions {
            timeout: Duration::from_secs(5),
            ..SharedOptions::new(format!("redis://127.0.0.1:{}", self.port))
        };
        AnswerCache::new(options, Some(Arc::new(Fake)), Some(&shared)).unwrap()
    }

    /// All its keys.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(port: u16) -> std::process::Child {
    let child = std::process::Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    child
}
