//! The cache with the embedder that gateways use.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that fails says so")]

use cache::{
    Answer, AnswerCache, Asked, CacheOptions, Control, Embed, EmbedError, Keepable, Place, Protocol,
    Question, Status,
};
use contracts::policy::cache::{Cache, Semantic};
use contracts::{TenantId, Timestamp, TokenUsage, Usd};
use inference::{Embedder, EmbedderOptions, models};
use std::sync::Arc;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

/// A token has a byte at least, and two marks are put around a text: so much is read whole.
const SURELY_READ: usize = 254;

#[derive(Debug)]
struct MiniLm(Embedder);

impl Embed for MiniLm {
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        let failed = |error: inference::ModelError| EmbedError(Box::new(error));
        if text.len() > SURELY_READ {
            let tokens = self.0.embed_tokens(text).map_err(failed)?;
            if tokens.offsets.last().is_none_or(|last| last.end < text.trim_end().len()) {
                return Ok(None);
            }
        }
        Ok(self.0.embed(&[text]).map_err(failed)?.pop())
    }
}

async fn ask(cache: &AnswerCache, tenant: &str, question: &str) -> Asked {
    let policy = Cache {
        semantic: Some(Semantic { max_question_bytes: 4096, ..Semantic::default() }),
        ..Cache::default()
    };
    let tenant: TenantId = tenant.parse().unwrap();
    let body =
        serde_json::json!({"model": "m", "messages": [{"role": "user", "content": question}]}).to_string();
    let place = Place {
        tenant: &tenant,
        route: "r",
        protocol: Protocol::Chat,
        variant: &[],
        embedder: models::EMBEDDER,
    };
    let question = Question::read(&place, body.as_bytes(), &policy).unwrap();
    cache.ask(question, &policy, &Control::default(), NOW).await
}

async fn learn(cache: &AnswerCache, tenant: &str, question: &str) {
    let Asked::Call(lead) = ask(cache, tenant, question).await else { panic!("it is known: {question}") };
    let answer = Answer {
        body: question.to_owned().into(),
        content_type: "application/json".to_owned(),
        model: "m".to_owned(),
        usage: TokenUsage::default(),
        cost: Usd::from_picos(1),
    };
    assert!(lead.keep(answer, Keepable::Both, NOW));
}

#[tokio::test]
async fn it_answers_what_means_the_same_and_nothing_that_comes_near() {
    let embedder = Embedder::load(&models::find(None, None).unwrap(), &EmbedderOptions::default()).unwrap();
    let options = CacheOptions { embed_wait: Duration::from_mins(1), ..CacheOptions::default() };
    let (cache, _) = AnswerCache::new(options, Some(Arc::new(MiniLm(embedder))), None).unwrap();
    learn(&cache, "acme", "Can I get a refund after 30 days?").await;
    learn(&cache, "acme", "How do I turn off notifications?").await;
    for (question, answer) in [
        ("can i get a refund after 30 days", "Can I get a refund after 30 days?"),
        ("Can I get a refund after 45 days?", ""),
        ("Can't I get a refund after 30 days?", ""),
        ("How do I turn on notifications?", ""),
        ("How can I turn off the notifications please?", "How do I turn off notifications?"),
    ] {
        match ask(&cache, "acme", question).await {
            Asked::Hit(hit) => {
                assert_eq!(
                    (hit.status, &hit.entry.answer.body[..]),
                    (Status::HitSemantic, answer.as_bytes()),
                    "{question}"
                );
            }
            Asked::Call(lead) => {
                lead.release();
                assert_eq!(answer, "", "{question}");
            }
            Asked::Absent => panic!("nobody forbade to call"),
        }
        assert!(matches!(ask(&cache, "other", question).await, Asked::Call(_)), "{question}");
    }
    // What is not read to its end is not compared.
    let long = "Tell me about the refund of shoes. ".repeat(60);
    learn(&cache, "acme", &long).await;
    assert!(matches!(ask(&cache, "acme", &format!("{long} And of hats?")).await, Asked::Call(_)));
}
