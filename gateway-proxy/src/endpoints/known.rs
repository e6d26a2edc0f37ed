//! Pieces of a stream, read as far as they are known here, with a note of whether they say more: what says more cannot be put
//! together again.

use serde_json::value::RawValue;

/// Whether a value says anything: null, false and what is empty do not.
pub(super) fn says(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "false" | "\"\"" | "[]" | "{}")
}

/// A struct of optional fields by their names in JSON, and whether the object has others that say something.
macro_rules! known {
    ($(#[$about:meta])* struct $name:ident { $($key:literal => $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$about])*
        #[derive(Default)]
        struct $name<'a> {
            $($field: Option<$kind>,)*
            /// Whether it says anything else.
            says_more: bool,
        }

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;

                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name<'de>;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = map.next_key::<crate::meter::Text<'de>>()? {
                            match &*key.0 {
                                $($key => read.$field = map.next_value()?,)*
                                _ => {
                                    let value: &'de serde_json::value::RawValue = map.next_value()?;
                                    read.says_more |= crate::endpoints::known::says(value);
                                }
                            }
                        }
                        Ok(read)
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }
    };
}

pub(super) use known;

#[cfg(test)]
mod tests {
    use crate::meter::Text;

    known! {
        /// A piece.
        struct Piece { "text" => text: Text<'a>, "index" => index: usize }
    }

    #[test]
    fn what_else_is_said_is_noted_and_what_says_nothing_is_not() {
        let read = |json| serde_json::from_str::<Piece<'_>>(json).unwrap();
        let piece = read(r#"{"text":"a","index":3,"audio":null,"list":[],"of":{},"flag":false,"name":""}"#);
        assert_eq!((piece.text.unwrap().0.as_ref(), piece.index, piece.says_more), ("a", Some(3), false));
        for more in [r#"{"x":1}"#, r#"{"x":{"y":null}}"#, r#"{"text":null,"x":"z"}"#, r#"{"x":true}"#] {
            assert!(read(more).says_more, "{more}");
        }
        assert!(serde_json::from_str::<Piece<'_>>(r#"{"text":7}"#).is_err());
    }
}
