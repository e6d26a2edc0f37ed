//! The room of kept streams, with streams in it.

use super::*;
use crate::endpoints::{CHAT_COMPLETIONS, RESPONSES};
use crate::resume::{Name, OnDisconnect};
use prometheus_client::metrics::counter::Counter;
use proptest::prelude::*;

const EVENT: usize = 100;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn shelf(most_streams: usize, total_bytes: usize) -> Shelf {
    Shelf::new(&ResumeConfig { total_bytes, most_streams, ..ResumeConfig::default() })
}

/// A stream of `of`'s, if there is room for it.
fn keep(shelf: &Shelf, of: &str, id: &str) -> Option<Arc<Kept>> {
    let place = shelf.enter(&tenant(of))?;
    let name = Name {
        tenant: tenant(of),
        endpoint: &CHAT_COMPLETIONS,
        request_id: id.to_owned(),
        response_id: None,
    };
    let kept = Kept::new(name, place, OnDisconnect::Continue, 4 << 20, Counter::default());
    let kept = Arc::new(kept);
    shelf.put(&kept);
    Some(kept)
}

fn push(shelf: &Shelf, kept: &Kept) {
    if kept.needs_room() {
        shelf.make_room(&kept.name().tenant);
    }
    // With its id it is no longer than that.
    kept.push(&[b'x'; EVENT - 20]);
}

fn bytes(shelf: &Shelf) -> usize {
    shelf.all.bytes.load(Relaxed)
}

#[test]
fn a_tenant_that_keeps_much_leaves_room_to_others() {
    let shelf = shelf(10, 1 << 20);
    let mut hoard: Vec<_> = (0..5).map(|n| keep(&shelf, "hoarder", &n.to_string()).unwrap()).collect();
    assert!(keep(&shelf, "hoarder", "5").is_none(), "half of the room is one tenant's");
    let other = keep(&shelf, "other", "a").unwrap();
    // One that is over makes room for the next of the same tenant, and no other does.
    other.end();
    hoard.pop().unwrap().end();
    assert!(keep(&shelf, "hoarder", "5").is_some());
    assert!(shelf.find(&tenant("hoarder"), "4").is_none());
    assert!(shelf.find(&tenant("other"), "a").is_some());
}

#[test]
fn streams_are_counted_rather_than_their_names() {
    let shelf = shelf(8, 1 << 20);
    for n in 0..4 {
        let place = shelf.enter(&tenant("acme")).unwrap();
        let name = Name {
            tenant: tenant("acme"),
            endpoint: &RESPONSES,
            request_id: format!("req_{n}"),
            response_id: Some(format!("resp_{n}")),
        };
        shelf.put(&Arc::new(Kept::new(name, place, OnDisconnect::Continue, 1 << 20, Counter::default())));
    }
    assert!(shelf.enter(&tenant("acme")).is_none());
    assert!(shelf.find(&tenant("acme"), "resp_3").is_some());
}

#[test]
fn no_other_is_taken_on_when_those_that_go_on_take_all_bytes() {
    let shelf = shelf(1_000, 100 * EVENT);
    let live: Vec<_> = (0..3).map(|n| keep(&shelf, "acme", &n.to_string()).unwrap()).collect();
    for _ in 0..100 {
        for kept in &live {
            push(&shelf, kept);
        }
    }
    // What is there of each is its part.
    assert!(bytes(&shelf) <= 51 * EVENT, "{}", bytes(&shelf));
    // A response that must be kept whole takes the rest of the share.
    let big = keep(&shelf, "acme", "big").unwrap();
    big.push(&vec![b'x'; 50 * EVENT]);
    assert!(shelf.enter(&tenant("acme")).is_none());
    assert!(shelf.enter(&tenant("other")).is_some());
    big.end();
    drop(big);
    assert!(shelf.enter(&tenant("acme")).is_some());
}

#[test]
fn what_was_over_first_makes_room_unless_somebody_reads_it() {
    let shelf = Shelf::new(&ResumeConfig { most_streams: 3, keep_ms: 0, ..ResumeConfig::default() });
    let read = keep(&shelf, "a", "read").unwrap();
    let reader = read.reader(0);
    read.end();
    for id in ["one", "two"] {
        keep(&shelf, "b", id).unwrap().end();
        assert!(shelf.find(&tenant("b"), id).is_some());
    }
    let there = |of: &str, id: &str| shelf.find(&tenant(of), id).is_some();
    // The share of b is one stream.
    assert_eq!((there("a", "read"), there("b", "one"), there("b", "two")), (true, false, true));
    shelf.sweep(Duration::from_mins(1));
    assert!(there("a", "read") && !there("b", "two"));
    drop((reader, read));
    shelf.sweep(Duration::from_mins(1));
    assert!(!there("a", "read"));
    assert_eq!((bytes(&shelf), shelf.all.streams.load(Relaxed), shelf.all.tenants.load(Relaxed)), (0, 0, 0));
    // An owner is forgotten after what was its.
    shelf.sweep(Duration::from_mins(1));
    assert!(shelf.lock().tenants.is_empty());
}

#[tokio::test]
async fn a_reader_that_stalls_holds_no_stream_that_is_over() {
    let shelf = shelf(10, 1 << 20);
    let kept = keep(&shelf, "acme", "one").unwrap();
    push(&shelf, &kept);
    let mut stalled = kept.reader(0);
    shelf.sweep(Duration::ZERO);
    assert!(shelf.find(&tenant("acme"), "one").is_some(), "it goes on");
    kept.end();
    shelf.sweep(Duration::from_mins(1));
    assert!(shelf.find(&tenant("acme"), "one").is_some(), "its reader may come for more");
    shelf.sweep(Duration::ZERO);
    assert!(shelf.find(&tenant("acme"), "one").is_none());
    assert_eq!((bytes(&shelf), shelf.all.streams.load(Relaxed)), (0, 0));
    assert!(stalled.next().await.unwrap().is_err(), "it is told that it has lost its place");
    assert_eq!(stalled.next().await, None);
    drop((stalled, kept));
    assert_eq!((shelf.all.streams.load(Relaxed), shelf.all.idle_streams.load(Relaxed)), (0, 0));
}

#[test]
fn nothing_is_looked_through_where_nothing_can_be_let_go_of() {
    let shelf = shelf(100, 100 * EVENT);
    let live = keep(&shelf, "acme", "live").unwrap();
    let over = |n: usize| {
        let kept = keep(&shelf, "acme", &n.to_string()).unwrap();
        (0..10).for_each(|_| push(&shelf, &kept));
        let reader = kept.reader(0);
        kept.end();
        reader
    };
    let mut readers: Vec<_> = (0..6).map(over).collect();
    assert!(bytes(&shelf) > 50 * EVENT, "the share of one tenant is full");
    assert!(!live.needs_room(), "what is over is read");
    readers.truncate(5);
    assert!(live.needs_room());
    push(&shelf, &live);
    assert!(shelf.find(&tenant("acme"), "5").is_none() && !live.needs_room());
}

#[test]
fn a_response_that_stands_apart_from_its_event_counts() {
    let shelf = shelf(10, 1 << 20);
    let place = shelf.enter(&tenant("acme")).unwrap();
    let name = Name {
        tenant: tenant("acme"),
        endpoint: &RESPONSES,
        request_id: "req_1".into(),
        response_id: Some("resp_1".into()),
    };
    let kept = Kept::new(name, place, OnDisconnect::Continue, 300, Counter::default());
    let response = format!("{{\"output\":\"{}\"}}", "x".repeat(200));
    kept.push(format!("data: {{\"sequence_number\":0,\"response\":{response}}}\n\n").as_bytes());
    for number in 1..9 {
        kept.push(format!("data: {{\"sequence_number\":{number}}}\n\n").as_bytes());
    }
    assert_eq!(kept.response().unwrap(), response);
    assert!((response.len()..=300).contains(&bytes(&shelf)), "{}", bytes(&shelf));
}

proptest! {
    /// Whatever comes in whatever order, all together keep no more than they may, but for the one event of each that is always kept.
    #[test]
    fn all_together_stay_within_the_bounds(steps in proptest::collection::vec((0..40_usize, 0..10_u8), 1..800)) {
        let shelf = shelf(30, 60 * EVENT);
        let mut live: Vec<Option<Arc<Kept>>> = vec![None; 40];
        for (at, what) in steps {
            let of = ["a", "b", "c"][at % 3];
            match (&live[at], what) {
                (Some(kept), 0) => {
                    kept.end();
                    live[at] = None;
                }
                (Some(kept), _) => (0..what).for_each(|_| push(&shelf, kept)),
                (None, _) => live[at] = keep(&shelf, of, &at.to_string()),
            }
            let streams = shelf.all.streams.load(Relaxed);
            prop_assert!(streams <= 30);
            prop_assert!(bytes(&shelf) <= (60 + streams) * EVENT, "{} of {streams}", bytes(&shelf));
        }
        for kept in live.into_iter().flatten() {
            kept.end();
        }
        shelf.lock().streams.clear();
        let all = &shelf.all;
        let counts = [&all.streams, &all.bytes, &all.live_streams, &all.live_bytes, &all.tenants];
        prop_assert_eq!(counts.map(|count| count.load(Relaxed)), [0; 5]);
    }
}
