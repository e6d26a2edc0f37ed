//! A body that comes in pieces, put together.

use bytes::{Bytes, BytesMut};

/// What has come so far. A body in one piece, the usual case, is not copied.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    first: Bytes,
    rest: BytesMut,
}

impl Gathered {
    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
        } else {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            self.rest.extend_from_slice(&piece);
        }
    }

    /// All of it.
    pub(crate) fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_not_copied_and_many_are_in_order() {
        let one = Bytes::from(vec![1, 2, 3]);
        let mut gathered = Gathered::default();
        gathered.push(Bytes::new());
        gathered.push(one.clone());
        assert_eq!(gathered.finish().as_ptr(), one.as_ptr());
        let mut gathered = Gathered::default();
        for piece in ["a", "", "bc", "d"] {
            gathered.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!((gathered.len(), &gathered.finish()[..]), (4, &b"abcd"[..]));
    }
}
