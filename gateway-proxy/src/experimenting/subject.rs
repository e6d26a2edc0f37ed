//! Whom a request is from, as far as it says, for experiments whose arms stick to that.
//!
//! | unit | where it is read, the first that is there |
//! |---|---|
//! | user | `safety_identifier`, `user`, `metadata.user_id` of the body |
//! | conversation | the header `x-control-tower-conversation`; `conversation` (an id, or an object with one) and `metadata.conversation_id` of the body |
//!
//! `previous_response_id` names another response at every turn, and `prompt_cache_key` may stand for many users: neither is read.

use crate::request::{Member, members};
use contracts::KeyId;
use contracts::policy::experiment::Sticky;
use http::HeaderMap;
use prompts::Subject;
use std::borrow::Cow;

/// Names the conversation, whatever the protocol.
const CONVERSATION: &str = "x-control-tower-conversation";

/// What a request says.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    user: Option<Cow<'a, str>>,
    conversation: Option<Cow<'a, str>>,
}

impl<'a> Said<'a> {
    /// Whether an experiment that sticks to `sticky` must look through the body.
    pub(super) const fn reads_body(sticky: Sticky) -> bool {
        matches!(sticky, Sticky::User | Sticky::Conversation)
    }

    /// Reads what an experiment that sticks to `sticky` must know; a body need not be read again for a key or a request.
    pub(super) fn read(sticky: Sticky, body: &'a str, headers: &'a HeaderMap) -> Self {
        if !Self::reads_body(sticky) {
            return Self::default();
        }
        let all = members(body).unwrap_or_default();
        let metadata = inside(&all, "metadata");
        let user = ["safety_identifier", "user"].iter().find_map(|name| text(&all, name));
        let header = headers.get(CONVERSATION).and_then(|value| value.to_str().ok()).map(str::trim);
        let header = header.filter(|id| !id.is_empty()).map(Cow::Borrowed);
        let conversation = header
            .or_else(|| text(&all, "conversation"))
            .or_else(|| text(&inside(&all, "conversation"), "id"))
            .or_else(|| text(&metadata, "conversation_id"));
        Self { user: user.or_else(|| text(&metadata, "user_id")), conversation }
    }

    /// Whom an arm is dealt to.
    pub(super) fn subject<'b>(&'b self, key: &'b KeyId, request: &'b str) -> Subject<'b> {
        Subject {
            user: self.user.as_deref(),
            conversation: self.conversation.as_deref(),
            key: Some(key.as_str()),
            request,
        }
    }
}

/// A member that is a text, and not the empty one.
fn text<'a>(members: &[Member<'a>], name: &str) -> Option<Cow<'a, str>> {
    members.iter().find(|member| member.name == name)?.string().filter(|text| !text.is_empty())
}

/// The members of a member; none when it is not an object.
fn inside<'a>(all: &[Member<'a>], name: &str) -> Vec<Member<'a>> {
    let found = all.iter().find(|member| member.name == name).map(Member::text);
    found.filter(|text| text.starts_with('{')).and_then(|text| members(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sticky: Sticky, body: &str, header: Option<&str>) -> [Option<String>; 2] {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(CONVERSATION, header.parse().unwrap());
        }
        let said = Said::read(sticky, body, &headers);
        [said.user, said.conversation].map(|part| part.map(Cow::into_owned))
    }

    #[test]
    fn user_and_conversation_are_read_where_each_protocol_has_them() {
        let user = |body: &str| read(Sticky::User, body, None)[0].clone().unwrap_or_default();
        assert_eq!(user(r#"{"user":"a","safety_identifier":"b"}"#), "b");
        assert_eq!(user(r#"{"user":"a","metadata":{"user_id":"c"}}"#), "a");
        assert_eq!(user(r#"{"metadata":{"user_id":"\u0063"}}"#), "c");
        for none in [r#"{"user":"","metadata":{"user_id":""}}"#, r#"{"user":null}"#, r#"{"metadata":"x"}"#] {
            assert_eq!(user(none), "", "{none}");
        }
        let conversation =
            |body, header| read(Sticky::Conversation, body, header)[1].clone().unwrap_or_default();
        assert_eq!(conversation(r#"{"conversation":"c1"}"#, None), "c1");
        assert_eq!(conversation(r#"{"conversation":{"id":"c2"}}"#, None), "c2");
        assert_eq!(conversation(r#"{"metadata":{"conversation_id":"c3"}}"#, None), "c3");
        assert_eq!(conversation(r#"{"conversation":"c1"}"#, Some(" h ")), "h");
        assert_eq!(conversation(r#"{"previous_response_id":"r"}"#, None), "");
    }

    #[test]
    fn what_sticks_to_keys_or_requests_reads_no_body() {
        assert_eq!(read(Sticky::Key, r#"{"user":"a"}"#, None), [None, None]);
        assert_eq!(read(Sticky::Request, "not json", Some("h")), [None, None]);
    }
}
