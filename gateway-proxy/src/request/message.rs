//! A message as it should be: read in one pass, without memory of its own.

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Messages with more members than this are left to the closer look.
const MOST: usize = 12;

/// A message with a role and nothing wrong.
pub(super) struct Message;

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Check)
    }
}

struct Check;

impl<'de> Visitor<'de> for Check {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        let mut names = [""; MOST];
        let mut count = 0;
        // Names with escapes cannot be borrowed, which is an error here.
        while let Some(name) = map.next_key::<&'de str>()? {
            if names[..count].contains(&name) {
                return Err(A::Error::custom("a repeated name"));
            }
            let place = names.get_mut(count).ok_or_else(|| A::Error::custom("many members"))?;
            *place = name;
            count += 1;
            let is_wrong = match name {
                "role" => !starts(map.next_value()?, b"\""),
                "content" => !starts(map.next_value()?, b"\"[n"),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if is_wrong {
                return Err(A::Error::custom("a value of another kind"));
            }
        }
        if names[..count].contains(&"role") { Ok(Message) } else { Err(A::Error::missing_field("role")) }
    }
}

/// Whether `value` begins with one of `bytes`.
fn starts(value: &RawValue, bytes: &[u8]) -> bool {
    value.get().as_bytes().first().is_some_and(|first| bytes.contains(first))
}
