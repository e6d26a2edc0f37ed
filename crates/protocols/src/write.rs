//! Writing JSON: objects and arrays member by member, straight into the bytes that go out.

use serde::Serialize;

/// Writes an object.
pub(crate) fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object { out, is_empty: true });
    out.push(b'}');
}

/// Writes an array.
pub(crate) fn array(out: &mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
    out.push(b'[');
    fill(&mut Array { out, is_empty: true });
    out.push(b']');
}

/// An object as a text of its own.
pub(crate) fn object_text(fill: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    object(&mut out, fill);
    out
}

/// What goes out here are strings, numbers, booleans and values that were JSON before: none of them can fail, and `null`
/// keeps this function total.
fn put<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

/// An object that is being written.
#[derive(Debug)]
pub(crate) struct Object<'w> {
    out: &'w mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    fn name(&mut self, name: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        put(self.out, name);
        self.out.push(b':');
    }

    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> &mut Self {
        self.name(name);
        put(self.out, value);
        self
    }

    /// Nothing at all where there is no value.
    pub fn opt<T: Serialize>(&mut self, name: &str, value: Option<&T>) -> &mut Self {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }

    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.name(name);
        object(self.out, fill);
        self
    }

    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut Array<'_>)) -> &mut Self {
        self.name(name);
        array(self.out, fill);
        self
    }

    /// A value that is JSON already.
    pub fn json(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(text.as_bytes());
        self
    }
}

/// An array that is being written.
#[derive(Debug)]
pub(crate) struct Array<'w> {
    out: &'w mut Vec<u8>,
    is_empty: bool,
}

impl Array<'_> {
    fn next(&mut self) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
    }

    pub fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        self.next();
        object(self.out, fill);
    }

    /// A value that is JSON already.
    pub fn json(&mut self, text: &[u8]) {
        self.next();
        self.out.extend_from_slice(text);
    }
}
