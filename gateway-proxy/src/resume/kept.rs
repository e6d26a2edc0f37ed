//! A stream that outlives its connection: its events, numbered, as many of them as fit.

use super::events::of_response;
use super::{Name, OnDisconnect, Place};
use crate::errors::Failure;
use crate::meter::Answer;
use bytes::{Bytes, BytesMut};
use prometheus_client::metrics::counter::Counter;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The largest number of an event that is taken from outside: beyond it not every client counts exactly.
const MOST_NUMBER: u64 = 1 << 53;

/// See the module.
#[derive(Debug)]
pub(crate) struct Kept {
    name: Name,
    place: Place,
    on_disconnect: OnDisconnect,
    most_bytes: usize,
    state: Mutex<State>,
    /// Changes whenever there is something new.
    news: watch::Sender<()>,
    /// Ends it at its source.
    pub(super) stop: CancellationToken,
    /// Readers that lost their place.
    slow_readers: Counter,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// The number of the next event, where it carries none that can be its own.
    next: u64,
    /// Events before this one were let go of.
    from: u64,
    /// The response as it was said last, JSON.
    response: Option<Bytes>,
    /// The number of the event that said so, whose bytes it shares, if it is one that is told.
    response_at: Option<u64>,
    /// What its provider calls the response.
    provider_id: Option<String>,
    /// Since when it is over.
    ended: Option<Instant>,
    was_cancelled: bool,
    followers: usize,
    /// When one of them came for more last.
    read: Option<Instant>,
    /// It was let go of, whoever reads it.
    is_forgotten: bool,
}

/// The event that is asked for was let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone {
    /// The first that is still here.
    pub(crate) first: u64,
}

/// Reads a stream from one of its events on.
#[derive(Debug)]
pub(crate) struct Follower {
    kept: Arc<Kept>,
    next: u64,
    news: watch::Receiver<()>,
    /// It fell behind, and was told so.
    is_lost: bool,
}

impl State {
    /// Since when it is over, if it is and nobody reads it.
    fn idle_since(&self) -> Option<Instant> {
        self.ended.filter(|_| self.followers == 0)
    }

    /// Bytes that it holds.
    fn held(&self) -> usize {
        let is_apart = self.response_at.is_none_or(|at| at < self.from);
        self.bytes + self.response.as_ref().filter(|_| is_apart).map_or(0, Bytes::len)
    }
}

impl Kept {
    pub(super) fn new(
        name: Name,
        place: Place,
        on_disconnect: OnDisconnect,
        most_bytes: usize,
        slow_readers: Counter,
    ) -> Self {
        Self {
            name,
            place,
            on_disconnect,
            most_bytes,
            state: Mutex::default(),
            news: watch::Sender::new(()),
            stop: CancellationToken::new(),
            slow_readers,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event. Returns it as it is told.
    pub(super) fn push(&self, event: &[u8]) -> Bytes {
        let mut state = self.state();
        let (number, event) = if self.name.response_id.is_some() {
            // A copy: it is a piece of the buffer that a connection reads into, all of which it would hold.
            let event = Bytes::copy_from_slice(event);
            let of = of_response(&event);
            // Numbers come from outside, and readers must find their places by them: they grow.
            let number = of.sequence_number.filter(|number| (state.next..MOST_NUMBER).contains(number));
            let number = number.unwrap_or(state.next);
            if let Some(response) = of.response {
                state.response = Some(event.slice_ref(response.get().as_bytes()));
                state.response_at = Some(number);
            }
            (number, event)
        } else {
            (state.next, with_id(&self.name.request_id, state.next, event))
        };
        state.next = number + 1;
        state.bytes += event.len();
        state.events.push_back((number, event.clone()));
        let most = self.place.most(self.most_bytes);
        while state.held() > most && state.events.len() > 1 {
            if let Some((number, gone)) = state.events.pop_front() {
                state.bytes -= gone.len();
                state.from = number + 1;
            }
        }
        self.place.holds(state.held());
        drop(state);
        self.news.send_replace(());
        event
    }

    /// The number of the next event.
    pub(super) fn next_number(&self) -> u64 {
        self.state().next
    }

    /// The response stands so, JSON, though no event tells it.
    pub(super) fn stands(&self, response: Bytes) {
        let mut state = self.state();
        (state.response, state.response_at) = (Some(response), None);
        self.place.holds(state.held());
    }

    /// What its provider calls the response, once that is known.
    pub(super) fn provider_id(&self) -> Option<String> {
        self.state().provider_id.clone()
    }

    /// Its provider calls the response so.
    pub(super) fn learn_id(&self, id: &str) {
        self.state().provider_id.get_or_insert_with(|| id.to_owned());
    }

    /// Whether what is over should make room for its next event.
    pub(super) fn needs_room(&self) -> bool {
        self.place.needs_room()
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.ended = Some(Instant::now());
        self.place.end();
        self.place.set_idle(state.idle_since().is_some());
        drop(state);
        self.news.send_replace(());
    }

    /// Ends it at its source, because its owner says so.
    pub(super) fn cancel(&self) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.was_cancelled = true;
        }
        drop(state);
        self.stop.cancel();
    }

    /// What it is known by.
    pub(super) const fn name(&self) -> &Name {
        &self.name
    }

    /// Since when it is over, if it is and nobody reads it.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state().idle_since()
    }

    /// Whether it is over, and whoever reads it has not come for more for `limit`.
    pub(super) fn is_stalled(&self, limit: Duration) -> bool {
        let state = self.state();
        let last = state.ended.map(|ended| state.read.map_or(ended, |read| read.max(ended)));
        state.followers > 0 && last.is_some_and(|last| last.elapsed() > limit)
    }

    /// Lets go of all of it, though somebody holds on to it: they have lost their place.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        (state.events, state.bytes, state.response) = (VecDeque::new(), 0, None);
        (state.from, state.is_forgotten) = (state.next, true);
        self.place.leave();
    }

    /// The response as it stands.
    pub(crate) fn response(&self) -> Option<Bytes> {
        let state = self.state();
        let response = state.response.clone()?;
        if !state.was_cancelled {
            return Some(response);
        }
        let mut json: serde_json::Value = serde_json::from_slice(&response).ok()?;
        json.as_object_mut()?.insert("status".into(), "cancelled".into());
        serde_json::to_vec(&json).ok().map(Bytes::from)
    }

    /// Reads it from the event numbered `next` on.
    pub(super) fn follow(self: &Arc<Self>, next: u64) -> Result<Follower, Gone> {
        let first = self.state().from;
        if next < first { Err(Gone { first }) } else { Ok(self.reader(next)) }
    }

    /// Reads it from the event numbered `next` on, whether that is still here or not.
    pub(super) fn reader(self: &Arc<Self>, next: u64) -> Follower {
        let mut state = self.state();
        state.followers += 1;
        state.read = Some(Instant::now());
        self.place.set_idle(false);
        drop(state);
        Follower { news: self.news.subscribe(), kept: self.clone(), next, is_lost: false }
    }
}

/// The event with an `id` that a client can come back with.
fn with_id(request_id: &str, number: u64, event: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(event.len() + request_id.len() + 28);
    out.extend_from_slice(format!("id: {request_id}:{number}\n").as_bytes());
    out.extend_from_slice(event);
    out.freeze()
}

/// About so much is given at a time: whoever takes it comes back for more, and so is seen to read.
const PIECE: usize = 64 << 10;

impl Follower {
    /// What has come since, or the beginning of it, once something has; `None` at the end. A follower that is slower than the stream by more than is kept of
    /// it has lost its place, which it is told once, and then it is at its end too.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Gone>> {
        loop {
            if self.is_lost {
                return None;
            }
            self.news.mark_unchanged();
            {
                let mut state = self.kept.state();
                state.read = Some(Instant::now());
                if self.next < state.from {
                    self.is_lost = true;
                    self.kept.slow_readers.inc();
                    return Some(Err(Gone { first: state.from }));
                }
                let mut out = BytesMut::new();
                let new = state.events.partition_point(|(number, _)| *number < self.next);
                for (number, event) in state.events.range(new..) {
                    out.extend_from_slice(event);
                    self.next = number + 1;
                    if out.len() >= PIECE {
                        break;
                    }
                }
                if !out.is_empty() {
                    return Some(Ok(out.freeze()));
                }
                if state.ended.is_some() {
                    return None;
                }
            }
            // The sender lives as long as what is followed.
            self.news.changed().await.ok()?;
        }
    }

    /// The event that says within the stream that its reader has lost its place. It has no id: whoever comes back comes back with that
    /// of the last event that did arrive.
    pub(super) fn lost(&self, gone: Gone) -> Bytes {
        let name = &self.kept.name;
        let error = Failure::EventsGone { first: gone.first }.to_api();
        let answer = Answer { sequence: self.next.saturating_sub(1), ..Answer::default() };
        Bytes::from((name.endpoint.error_event)(&error, &name.request_id, &answer))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.kept.state();
        state.followers -= 1;
        self.kept.place.set_idle(state.idle_since().is_some() && !state.is_forgotten);
        let is_left = state.followers == 0 && state.ended.is_none();
        drop(state);
        if is_left && self.kept.on_disconnect == OnDisconnect::Stop {
            self.kept.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ResumeConfig;
    use crate::endpoints::{CHAT_COMPLETIONS, RESPONSES};
    use crate::resume::shelf::Shelf;
    use futures_util::FutureExt;

    fn kept(most_bytes: usize, is_response: bool, on_disconnect: OnDisconnect) -> Arc<Kept> {
        let name = Name {
            tenant: "acme".parse().unwrap(),
            endpoint: if is_response { &RESPONSES } else { &CHAT_COMPLETIONS },
            request_id: "req_1".into(),
            response_id: is_response.then(|| "resp_1".into()),
        };
        let place = Shelf::new(&ResumeConfig::default()).enter(&name.tenant).unwrap();
        Arc::new(Kept::new(name, place, on_disconnect, most_bytes, Counter::default()))
    }

    async fn read(follower: &mut Follower) -> Bytes {
        follower.next().await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn events_are_numbered_and_read_from_any_of_them() {
        let kept = kept(1 << 10, false, OnDisconnect::Continue);
        for text in ["data: a\n\n", "data: b\n\n", "data: c\n\n"] {
            kept.push(text.as_bytes());
        }
        let mut all = kept.follow(0).unwrap();
        let first = read(&mut all).await;
        assert!(first.starts_with(b"id: req_1:0\ndata: a\n\nid: req_1:1\n"), "{first:?}");
        let mut rest = kept.follow(2).unwrap();
        assert_eq!(read(&mut rest).await, "id: req_1:2\ndata: c\n\n");
        kept.end();
        assert_eq!((all.next().await, rest.next().await), (None, None));
    }

    #[tokio::test]
    async fn much_is_given_a_piece_at_a_time() {
        let kept = kept(1 << 20, false, OnDisconnect::Continue);
        let event = Bytes::from(format!("data: {}\n\n", "x".repeat(1_000)));
        let mut all = BytesMut::new();
        for _ in 0..200 {
            all.extend_from_slice(&kept.push(&event));
        }
        kept.end();
        let (mut follower, mut read) = (kept.reader(0), BytesMut::new());
        while let Some(piece) = follower.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() < PIECE + 2_000, "{}", piece.len());
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, all);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_let_go_of_and_says_so() {
        let kept = kept(60, false, OnDisconnect::Continue);
        for _ in 0..5 {
            kept.push(b"data: 0123456789\n\n");
        }
        assert_eq!(kept.follow(0).unwrap_err(), Gone { first: 3 });
        assert!(kept.follow(4).unwrap().next().await.is_some());
    }

    #[tokio::test]
    async fn a_reader_that_lost_its_place_is_told_so_in_the_form_of_its_protocol() {
        for (is_response, event) in [
            (false, "data: 0123456789\n\n".to_owned()),
            (true, "data: {\"sequence_number\":N,\"delta\":\"0123456789\"}\n\n".to_owned()),
        ] {
            let kept = kept(100, is_response, OnDisconnect::Continue);
            let mut slow = kept.reader(0);
            for number in 0..9 {
                kept.push(event.replace('N', &number.to_string()).as_bytes());
            }
            kept.end();
            let gone = slow.next().await.unwrap().unwrap_err();
            let told = slow.lost(gone);
            let told = std::str::from_utf8(&told).unwrap();
            assert!(told.contains(&format!("before number {} were let go of", gone.first)), "{told}");
            assert_eq!(told.starts_with("event: error\ndata: "), is_response, "{told}");
            assert!(told.contains("events_gone") && told.ends_with("\n\n"), "{told}");
            assert_eq!((slow.next().await, kept.slow_readers.get()), (None, 1));
        }
    }

    #[tokio::test]
    async fn a_response_carries_its_own_numbers() {
        let kept = kept(1 << 10, true, OnDisconnect::Continue);
        kept.push(b"data: {\"sequence_number\":0,\"response\":{\"status\":\"in_progress\"}}\n\n");
        kept.push(b"data: {\"sequence_number\":1}\n\n");
        assert_eq!(kept.response().unwrap(), "{\"status\":\"in_progress\"}");
        assert_eq!(read(&mut kept.follow(1).unwrap()).await, "data: {\"sequence_number\":1}\n\n");
        kept.cancel();
        assert_eq!(kept.response().unwrap(), "{\"status\":\"cancelled\"}");
    }

    #[tokio::test]
    async fn what_is_kept_holds_no_more_than_itself() {
        let event = b"data: {\"sequence_number\":0,\"response\":{}}\n\n";
        for is_response in [true, false] {
            let buffer = Bytes::from([&event[..], vec![0; 64 << 10].as_slice()].concat());
            let kept = kept(1 << 10, is_response, OnDisconnect::Continue);
            kept.push(&buffer.slice(..event.len()));
            assert!(read(&mut kept.follow(0).unwrap()).await.ends_with(event) && buffer.is_unique());
        }
    }

    #[tokio::test]
    async fn numbers_that_do_not_grow_lose_no_event_and_repeat_none() {
        let with = |number: &str| format!("data: {{\"sequence_number\":{number}}}\n\n");
        let (last, beyond) = (u64::MAX.to_string(), (u64::MAX - 1).to_string());
        for numbers in [
            &["0", "0", "0"][..],
            &["5", "3", "4", "9"],
            &["null", "null", "null"],
            &[&last, &last, "1"],
            &[&beyond, &last, "2", "3"],
        ] {
            let kept = kept(1 << 10, true, OnDisconnect::Continue);
            let mut follower = kept.reader(0);
            for number in numbers {
                let event = with(number);
                kept.push(event.as_ref());
                let came = follower.next().now_or_never().flatten();
                assert_eq!(came, Some(Ok(Bytes::from(event))), "{numbers:?}");
            }
            kept.end();
            assert_eq!(follower.next().await, None, "{numbers:?}");
            // Nor does one that comes late read any twice.
            let mut late = kept.reader(0);
            let all: String = numbers.iter().map(|number| with(number)).collect();
            assert_eq!(read(&mut late).await, all);
            assert_eq!(late.next().await, None);
        }
    }

    #[tokio::test]
    async fn the_last_who_leaves_stops_it_if_that_was_asked_for() {
        for (on_disconnect, stops) in [(OnDisconnect::Stop, true), (OnDisconnect::Continue, false)] {
            let kept = kept(100, false, on_disconnect);
            let (one, two) = (kept.follow(0).unwrap(), kept.follow(0).unwrap());
            drop(one);
            assert!(!kept.stop.is_cancelled());
            drop(two);
            assert_eq!(kept.stop.is_cancelled(), stops);
        }
    }
}
