//! What comes over a socket while a message of its client is gathered. A message is whole before anybody reads it, so what is large
//! takes room of the bound on all bodies in work as it comes.

use runtime::{InFlight, Room};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Up to this many bytes of a message are not counted: the number of sockets bounds these. A message that is only to be told that it
/// has to wait may not be longer.
const SMALL: usize = 64 << 10;
/// So much room is taken at a time.
const PART: usize = 1 << 20;

/// A connection whose messages are measured as they come.
#[derive(Debug)]
pub(super) struct Gathering<S> {
    stream: S,
    in_work: InFlight,
    /// Bytes of the message that comes.
    came: usize,
    room: Vec<Room>,
    /// That of the message which is whole, and is not read yet.
    unread: Vec<Room>,
    /// Only short messages are heard.
    is_busy: bool,
    refused: Option<Refused>,
}

/// Why a message is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The client should be waiting.
    Busy,
    /// There is no room for more bodies.
    Full,
}

impl<S> Gathering<S> {
    pub(super) const fn new(stream: S, in_work: InFlight) -> Self {
        Self { stream, in_work, came: 0, room: Vec::new(), unread: Vec::new(), is_busy: false, refused: None }
    }

    /// A message has come, and keeps its room until it is read: the next one begins.
    pub(super) fn begin(&mut self) {
        self.came = 0;
        self.unread = std::mem::take(&mut self.room);
    }

    /// The last message was read: whatever goes on with it takes room for itself.
    pub(super) fn let_go(&mut self) {
        self.unread.clear();
    }

    /// A frame for the connection itself has come, which may stand between the parts of a message: so many bytes of it are none of that.
    pub(super) const fn pass_over(&mut self, payload: usize) {
        // Two bytes of its head, four of its mask.
        self.came = self.came.saturating_sub(payload + 6);
    }

    /// Whether some of a message has come, and not all of it.
    pub(super) const fn is_within(&self) -> bool {
        self.came > 0
    }

    /// Only short messages are heard from now on, or longer ones as well.
    pub(super) const fn set_busy(&mut self, is_busy: bool) {
        self.is_busy = is_busy;
    }

    /// Why the last message was not read to its end, if it was not.
    pub(super) const fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// So many bytes more have come.
    fn measure(&mut self, more: usize) -> Result<(), Refused> {
        self.came += more;
        if self.came <= SMALL {
            return Ok(());
        }
        if self.is_busy {
            return Err(Refused::Busy);
        }
        while self.room.len() * PART < self.came {
            self.room.push(self.in_work.try_enter(PART).ok_or(Refused::Full)?);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let more = buffer.filled().len() - before;
        Poll::Ready(self.measure(more).map_err(|refused| {
            self.refused = Some(refused);
            io::Error::other("a message is larger than there is room for")
        }))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_keeps_its_room_until_it_is_read() {
        let in_work = InFlight::new(4 << 20);
        let mut gathering = Gathering::new(tokio::io::empty(), in_work.clone());
        gathering.measure(2 * PART).unwrap();
        gathering.begin();
        assert_eq!(gathering.measure(3 * PART), Err(Refused::Full));
        gathering.begin();
        gathering.let_go();
        assert!(in_work.try_enter(4 * PART).is_some());
    }
}
