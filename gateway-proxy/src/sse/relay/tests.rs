//! Any cut of a stream gives the same events and the same bytes.

use super::*;
use proptest::prelude::*;

/// Feeds `chunks`; hides events whose data is `hide`. Returns what the client gets and the data of all events.
fn relay(chunks: &[&[u8]], hide: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut relay = Relay::default();
    let (mut out, mut events) = (Vec::new(), Vec::new());
    let mut judge = |event: &Event<'_>| {
        events.push(event.data().to_vec());
        if !hide.is_empty() && event.data() == hide { Verdict::Hide } else { Verdict::Keep }
    };
    for chunk in chunks {
        match relay.push(Bytes::copy_from_slice(chunk), &mut judge) {
            Relayed::Bytes(bytes) => out.extend_from_slice(&bytes),
            Relayed::TooLarge => panic!("nothing here is large"),
        }
    }
    out.extend_from_slice(&relay.finish(&mut judge));
    (out, events)
}

const ENDINGS: [&str; 3] = ["\n", "\r\n", "\r"];

#[test]
fn an_event_is_hidden_wherever_the_bytes_are_cut() {
    for end in ENDINGS {
        let event = |data: &str| format!("data: {data}{end}{end}");
        let all = format!("{}{}{}{}", event("a"), event("{\"é\":1}"), event("HIDE"), event("[DONE]"));
        let expected = all.replace(&event("HIDE"), "");
        let bytes = all.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let (out, events) =
                    relay(&[&bytes[..first], &bytes[first..second], &bytes[second..]], b"HIDE");
                assert_eq!(String::from_utf8_lossy(&out), expected, "cut at {first} and {second}, {end:?}");
                assert_eq!(events.len(), 4);
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(relay(&single, b"HIDE").0, expected.as_bytes());
    }
}

#[test]
fn a_chunk_of_whole_events_is_handed_on_uncopied() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
    let mut relay = Relay::default();
    let Relayed::Bytes(out) = relay.push(chunk.clone(), |_| Verdict::Keep) else { panic!("not large") };
    assert_eq!((out.as_ptr(), out.len()), (chunk.as_ptr(), chunk.len()));
    assert!(!relay.is_mid_event());
}

#[test]
fn half_an_event_is_held() {
    let mut relay = Relay::default();
    let out = relay.push(Bytes::from_static(b"data: a\n\ndata: b"), |_| Verdict::Keep);
    assert_eq!(out, Relayed::Bytes(Bytes::from_static(b"data: a\n\n")));
    assert!(relay.is_mid_event());
    let out = relay.push(Bytes::from_static(b"\n\n"), |_| Verdict::Keep);
    assert_eq!(out, Relayed::Bytes(Bytes::from_static(b"data: b\n\n")));
}

#[test]
fn fields_are_read_as_the_standard_says() {
    for (block, data, malformed) in [
        ("data: a\ndata:b\ndata\n\n", "a\nb\n", false),
        (": ping\n\n", "", false),
        ("event: x\nid: 1\nretry: 5\ndata:  two\n\n", " two", false),
        ("<html>\n\n", "", true),
        ("\u{feff}data: x\n\n", "x", false),
    ] {
        let mut relay = Relay::default();
        let mut seen = Vec::new();
        let judge = |e: &Event<'_>| {
            seen.push((String::from_utf8_lossy(e.data()).into_owned(), e.is_malformed()));
            Verdict::Keep
        };
        assert_eq!(
            relay.push(Bytes::copy_from_slice(block.as_bytes()), judge),
            Relayed::Bytes(Bytes::copy_from_slice(block.as_bytes()))
        );
        assert_eq!(seen, [(data.to_owned(), malformed)], "{block:?}");
    }
}

#[test]
fn an_endless_event_is_refused() {
    let mut relay = Relay::default();
    let chunk = Bytes::from(vec![b'x'; 8 << 20]);
    let mut result = Relayed::Bytes(Bytes::new());
    for _ in 0..6 {
        result = relay.push(chunk.clone(), |_| Verdict::Keep);
        if result == Relayed::TooLarge {
            return;
        }
    }
    panic!("still accepted: {result:?}");
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events_and_bytes(
        stream in prop::collection::vec(
            prop_oneof![Just("data: a"), Just("data: HIDE"), Just(": c"), Just("event: e"), Just("junk"), Just("\n"), Just("\r\n"), Just("\r"), Just("é")],
            0..24,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let bytes = stream.concat().into_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        at.push(bytes.len());
        at.sort_unstable();
        let mut from = 0;
        let chunks: Vec<&[u8]> = at.iter().map(|&to| { let c = &bytes[from..to]; from = to; c }).collect();

        let whole = relay(&[&bytes], b"");
        prop_assert_eq!(&relay(&chunks, b""), &whole);
        prop_assert_eq!(&whole.0, &bytes, "nothing hidden, nothing changed");
        prop_assert_eq!(relay(&chunks, b"HIDE"), relay(&[&bytes], b"HIDE"));
    }

    #[test]
    fn arbitrary_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let bytes = chunks.concat();
        prop_assert_eq!(relay(&chunks, b"").0, bytes);
    }
}
