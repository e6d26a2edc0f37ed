//! JSON in one form: requests that differ only in the order of members, in white space or in how a number is written are the same.
//!
//! A value is fed to the hash with a tag for its kind and its length before it, so no two values give the same bytes.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;

/// Whole numbers up to here have one `f64` each.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A JSON value, its members sorted. Texts without escapes are those of the body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Whole(i128),
    /// Not whole.
    Fraction(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Members(Members<'a>),
}

/// The members of an object, sorted by name, each name once.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

impl<'a> Members<'a> {
    fn place(&self, member: &str) -> Option<usize> {
        self.0.binary_search_by(|(name, _)| name.as_ref().cmp(member)).ok()
    }

    pub(crate) fn get(&self, member: &str) -> Option<&Node<'a>> {
        self.place(member).map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut(&mut self, member: &str) -> Option<&mut Node<'a>> {
        self.place(member).map(|at| &mut self.0[at].1)
    }

    pub(crate) fn remove(&mut self, member: &str) {
        if let Some(at) = self.place(member) {
            self.0.remove(at);
        }
    }
}

impl<'a> Node<'a> {
    /// Reads a body. What is read differently by different readers is refused: a member that comes twice, and numbers that are not
    /// told apart in 64 bits.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    pub(crate) fn get(&self, member: &str) -> Option<&Self> {
        match self {
            Self::Members(members) => members.get(member),
            _ => None,
        }
    }

    /// A member that is there and is not `null`.
    pub(crate) fn some(&self, member: &str) -> Option<&Self> {
        self.get(member).filter(|node| **node != Self::Null)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "compared with bounds between 0 and 2")]
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(whole) => Some(*whole as f64),
            Self::Fraction(fraction) => Some(*fraction),
            _ => None,
        }
    }

    /// Feeds the value to a fingerprint.
    pub(crate) fn feed(&self, print: &mut Fingerprint) {
        match self {
            Self::Null => print.tag(b'0'),
            Self::Bool(false) => print.tag(b'f'),
            Self::Bool(true) => print.tag(b't'),
            Self::Whole(whole) => {
                print.tag(b'n');
                print.raw(&whole.to_le_bytes());
            }
            Self::Fraction(fraction) => {
                print.tag(b'd');
                print.raw(&fraction.to_bits().to_le_bytes());
            }
            Self::Text(text) => {
                print.tag(b's');
                print.field(text.as_bytes());
            }
            Self::List(list) => {
                print.tag(b'[');
                print.count(list.len());
                for node in list {
                    node.feed(print);
                }
            }
            Self::Members(members) => {
                print.tag(b'{');
                print.count(members.0.len());
                for (name, node) in &members.0 {
                    print.field(name.as_bytes());
                    node.feed(print);
                }
            }
        }
    }
}

/// Bytes that are hashed at once: most fields are far shorter than what a hash takes well.
const AT_ONCE: usize = 1024;

/// SHA-256 over fields that each carry their length.
#[derive(Clone)]
pub(crate) struct Fingerprint {
    hash: Sha256,
    /// What is not hashed yet.
    pending: Vec<u8>,
    /// Tests keep only so many values apart, so that everything within a tenant collides.
    values: Option<u8>,
}

impl Fingerprint {
    pub(crate) fn new(purpose: &str, values: Option<u8>) -> Self {
        let mut print = Self { hash: Sha256::new(), pending: Vec::with_capacity(AT_ONCE), values };
        print.field(purpose.as_bytes());
        print
    }

    /// A field of any length.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.raw(&(count as u64).to_le_bytes());
    }

    pub(crate) fn tag(&mut self, tag: u8) {
        self.raw(&[tag]);
    }

    fn raw(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > AT_ONCE {
            self.hash.update(&self.pending);
            self.pending.clear();
        }
        if bytes.len() > AT_ONCE {
            self.hash.update(bytes);
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.hash.update(&self.pending);
        let digest: [u8; 32] = self.hash.finalize().into();
        match self.values {
            None => digest,
            Some(values) => [digest[0] % values.max(1); 32],
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Whole(value.into()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 53 bits")]
    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'de>, E> {
        if value.abs() >= EXACT {
            return Err(E::custom("a number too large to tell from its neighbours"));
        }
        Ok(if value.fract() == 0.0 { Node::Whole(value as i128) } else { Node::Fraction(value) })
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Node<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = values.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Node<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), node)) = pairs.next_entry::<Name<'de>, Node<'de>>()? {
            members.push((name, node));
        }
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom("a member that comes twice"));
        }
        Ok(Node::Members(Members(members)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn print(body: &str) -> [u8; 32] {
        let mut print = Fingerprint::new("test", None);
        Node::read(body.as_bytes()).unwrap().feed(&mut print);
        print.finish()
    }

    #[test]
    fn how_it_is_written_does_not_count() {
        let one = print(r#"{"a": 1, "b": [1.50, "é", null], "c": 1e2, "z": -0.0}"#);
        assert_eq!(one, print(r#"{"z":0,"c":100,"b":[15e-1,"\u00e9",null],"a":1.0}"#));
    }

    #[test]
    fn what_is_read_differently_by_different_readers_is_refused() {
        for body in
            [r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"b":1}}"#, "123456789012345678901234", "1e300", "{", ""]
        {
            assert!(Node::read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn values_that_look_alike_differ() {
        let all = [
            "null",
            "false",
            "\"false\"",
            "0",
            "\"0\"",
            "[]",
            "{}",
            "[[]]",
            "[[],[]]",
            "[\"a\",\"b\"]",
            "[\"ab\"]",
            "[\"ab\",\"\"]",
            "{\"a\":\"b\"}",
            "{\"ab\":\"\"}",
            "0.1",
            "[null]",
            "\"\"",
        ];
        let prints: std::collections::HashSet<_> = all.iter().map(|body| print(body)).collect();
        assert_eq!(prints.len(), all.len());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3_i64..3).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]{0,2}", inner, 0..3).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn two_values_have_one_fingerprint_only_if_they_are_equal(one in any_json(), other in any_json()) {
            prop_assert_eq!(print(&one.to_string()) == print(&other.to_string()), one == other);
        }
    }
}
