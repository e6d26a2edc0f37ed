//! What a request asks, as far as a cache is concerned.
//!
//! | request | same again | same meaning |
//! |---|---|---|
//! | last message is the user's, text only | yes | yes |
//! | last message is the assistant's, to be gone on with | yes | no |
//! | last message holds results of tools | no: a step of an agent, whose ids never come again | no |
//! | `temperature` above the route's `max_temperature` | yes | no |
//! | question longer than is compared, or empty | yes | no |
//! | images, audio, files anywhere | no | no |
//! | tools that the provider runs (search, code, MCP) | no: they look at the world | no |
//! | state at the provider (`previous_response_id`, `conversation`, `container`, `prompt`), `background`, `store: true` | no | no |
//! | JSON that readers read differently | no | no |
//!
//! Every member of the body counts, known or not, but those that decide how an answer is delivered, billed or filed ([`LEFT_OUT`]).

mod conversation;
#[cfg(test)]
mod tests;

use crate::canonical::{Fingerprint, Node};
use contracts::TenantId;
use contracts::policy::cache::Cache;
use conversation::Ending;
use std::fmt;

/// Members that do not change an answer.
pub const LEFT_OUT: [&str; 9] = [
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "user",
];

/// The form of a request's body and of its answer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/messages`.
    Messages,
}

/// Where a request was asked.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Whose request it is.
    pub tenant: &'a TenantId,
    /// The route that it took, or the model's name where there is no route.
    pub route: &'a str,
    /// The form of its body.
    pub protocol: Protocol,
    /// Whatever else decides the answer and is not in the body: a prompt's version, an experiment's arm, the models that the route
    /// leads to, `anthropic-beta`. Always in the same order.
    pub variant: &'a [&'a str],
    /// Name and version of the embedder's model; vectors of two models have nothing in common.
    pub embedder: &'a str,
}

/// The key of exactly this request: SHA-256 of place and body in canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ExactKey(pub [u8; 32]);

/// All but the last question that decides an answer: SHA-256 of place, body without the question, and the temperature's class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Partition(pub [u8; 32]);

/// A request whose answer may be given again.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub(crate) tenant: TenantId,
    pub(crate) route: Box<str>,
    pub(crate) protocol: Protocol,
    pub(crate) exact: ExactKey,
    pub(crate) meaning: Option<Meaning>,
}

/// What a request of the same meaning is found by.
#[derive(Clone, PartialEq)]
pub(crate) struct Meaning {
    pub(crate) partition: Partition,
    /// The last message's text.
    pub(crate) text: String,
}

/// Why a request's answer is not given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Bypass {
    /// It is not JSON that every reader reads alike, or not a conversation.
    #[error("the body is not a conversation that every reader reads alike")]
    Unreadable,
    /// It holds images, audio, files or parts that are not known.
    #[error("the conversation holds more than text")]
    Media,
    /// The provider runs tools for it.
    #[error("the provider runs tools that look at the world")]
    HostedTool,
    /// It hands in results of tools.
    #[error("the last message holds results of tools")]
    ToolResults,
    /// It goes on from state at the provider, or leaves some there.
    #[error("the request reads or leaves state at the provider")]
    State,
    /// It runs in the background.
    #[error("the request runs in the background")]
    Background,
}

impl Question {
    /// Reads what a body asks. `policy` decides which questions are compared by meaning.
    pub fn read(place: &Place<'_>, body: &[u8], policy: &Cache) -> Result<Self, Bypass> {
        Self::read_weakly(place, body, policy, None)
    }

    /// The same with so many hashes only.
    pub(crate) fn read_weakly(
        place: &Place<'_>,
        body: &[u8],
        policy: &Cache,
        hashes: Option<u8>,
    ) -> Result<Self, Bypass> {
        let mut body = Node::read(body).map_err(|_| Bypass::Unreadable)?;
        let text = match conversation::read(place.protocol, &body)? {
            Ending::Question(text) => policy.semantic.as_ref().map(|_| text.into_owned()),
            Ending::Other => None,
        };
        let Node::Members(members) = &mut body else { return Err(Bypass::Unreadable) };
        for member in LEFT_OUT {
            members.remove(member);
        }
        let mut print = place.print("exact", hashes);
        body.feed(&mut print);
        let exact = ExactKey(print.finish());
        let meaning = text.and_then(|text| meaning(place, &mut body, text, policy, hashes));
        let tenant = place.tenant.clone();
        Ok(Self { tenant, route: place.route.into(), protocol: place.protocol, exact, meaning })
    }

    /// The key of exactly this request.
    pub fn key(&self) -> ExactKey {
        self.exact
    }

    /// The partition within which another request may mean the same; `None` where only the same request again will do.
    pub fn partition(&self) -> Option<Partition> {
        self.meaning.as_ref().map(|meaning| meaning.partition)
    }

    /// Whose request it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

fn meaning(
    place: &Place<'_>,
    body: &mut Node<'_>,
    text: String,
    policy: &Cache,
    hashes: Option<u8>,
) -> Option<Meaning> {
    let semantic = policy.semantic.as_ref()?;
    let temperature = Temperature::of(body, semantic.max_temperature)?;
    if text.trim().is_empty() || text.len() as u64 > semantic.max_question_bytes {
        return None;
    }
    conversation::take_question(place.protocol, body);
    if let Node::Members(members) = body {
        members.remove("temperature");
    }
    let mut print = place.print("meaning", hashes);
    print.field(place.embedder.as_bytes());
    print.tag(temperature as u8);
    body.feed(&mut print);
    Some(Meaning { partition: Partition(print.finish()), text })
}

/// How much chance an answer has in it. Requests of different classes never share an answer by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temperature {
    /// The model's own.
    Unset = 0,
    /// 0.
    None = 1,
    /// Up to 0.3.
    Low = 2,
    /// Up to 0.7.
    Middle = 3,
    /// Above.
    High = 4,
}

impl Temperature {
    /// `None` above what the route allows, and where it is not a number.
    fn of(body: &Node<'_>, most: f64) -> Option<Self> {
        let Some(node) = body.some("temperature") else { return Some(Self::Unset) };
        let temperature = node.number().filter(|number| (0.0..=most).contains(number))?;
        Some(match temperature {
            0.0 => Self::None,
            t if t <= 0.3 => Self::Low,
            t if t <= 0.7 => Self::Middle,
            _ => Self::High,
        })
    }
}

impl Place<'_> {
    fn print(&self, purpose: &str, hashes: Option<u8>) -> Fingerprint {
        let mut print = Fingerprint::new(purpose, hashes);
        print.field(self.tenant.as_str().as_bytes());
        print.field(self.route.as_bytes());
        print.tag(self.protocol as u8);
        print.count(self.variant.len());
        self.variant.iter().for_each(|part| print.field(part.as_bytes()));
        print
    }
}

impl fmt::Debug for Meaning {
    /// Without the text, which is nobody's business in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.partition.fmt(formatter)
    }
}

impl fmt::Debug for ExactKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.0[..8]))
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.0[..8]))
    }
}
