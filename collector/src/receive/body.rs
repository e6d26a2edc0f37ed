//! Bodies as they come in, and the room that they take: what has come in is weighed as it comes, and a compressed body is
//! weighed by the most that it can become until it is known what it becomes. What bodies become has a bound of its own, so
//! that those who wait to be decompressed cannot hold up those who are.

use super::Receiver;
use super::compression::Compression;
use super::status::Refusal;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use runtime::Room;
use std::time::Duration;
use tonic::Code;

/// How long a body may take to come in.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A body in work is there twice: as it came, and as what was made of it.
const COPIES: usize = 2;
/// The most that deflate can make of a byte, from its own documentation.
const DEFLATE_RATIO: usize = 1032;
/// Room for a body whose length is not told beforehand, until it needs more.
pub const FIRST_ROOM: usize = 64 * 1024;

/// What a body of `length` bytes in work takes.
pub const fn weight(length: usize) -> usize {
    length.saturating_mul(COPIES)
}

/// What a compressed body of `length` bytes may take once it is decompressed, to at most `limit` bytes.
pub fn weight_unfolding(compression: Compression, length: usize, limit: usize) -> usize {
    weight(match compression {
        Compression::Identity => length.min(limit),
        Compression::Gzip | Compression::Deflate => length.saturating_mul(DEFLATE_RATIO).min(limit),
        Compression::Zstd => limit,
    })
}

/// Room for what a compressed body becomes; none for one that stays as it came.
pub async fn enter_unfolding(
    receiver: &Receiver,
    compression: Compression,
    length: usize,
) -> Result<Option<Room>, Refusal> {
    if compression == Compression::Identity {
        return Ok(None);
    }
    let weight = weight_unfolding(compression, length, receiver.sizes.max_decompressed);
    let room = receiver.unfolded.enter(weight).await;
    room.map(Some).ok_or_else(|| no_room(receiver.ingest.retry_after()))
}

/// Makes the room fit, or says that there is none.
pub async fn fit(room: &mut Room, bytes: usize, retry_after: Duration) -> Result<(), Refusal> {
    if room.resize(bytes).await { Ok(()) } else { Err(no_room(retry_after)) }
}

/// Does `work` where it is, or away from the async threads when it `is_long`.
pub async fn off_thread<T: Send + 'static>(
    is_long: bool,
    retry_after: Duration,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if !is_long {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Refusal::pressure("the collector is stopping", retry_after)))
}

/// The refusal of a request for which there is no room.
pub fn no_room(retry_after: Duration) -> Refusal {
    Refusal::pressure("too many requests are in work", retry_after)
}

/// Reads a body of at most `most` bytes.
pub async fn read(body: Body, most: usize, room: &mut Room, retry_after: Duration) -> Result<Bytes, Refusal> {
    let whole = read_on(body, most, room, retry_after);
    tokio::time::timeout(TIMEOUT, whole).await.unwrap_or_else(|_| {
        let message = format!("the body did not come in within {} s", TIMEOUT.as_secs());
        Err(Refusal::client(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, "timeout", message))
    })
}

async fn read_on(
    mut body: Body,
    most: usize,
    room: &mut Room,
    retry_after: Duration,
) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::invalid(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = whole.len() + data.len();
        if length > most {
            return Err(Refusal::too_large(format!("the body is larger than {most} bytes")));
        }
        if weight(length) > room.bytes() {
            // Twice as much at a time, as the buffer grows.
            fit(room, weight(length).saturating_mul(2).min(weight(most)), retry_after).await?;
        }
        whole.extend_from_slice(&data);
    }
    fit(room, weight(whole.len()), retry_after).await?;
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::InFlight;

    const WAIT: Duration = Duration::from_secs(5);
    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_compressed_body_weighs_what_it_can_become() {
        let of = |compression, length| weight_unfolding(compression, length, 64 * MIB);
        assert_eq!(of(Compression::Zstd, 100), 2 * 64 * MIB);
        assert_eq!(of(Compression::Gzip, 1_000), 2 * 1_032_000);
        assert_eq!(of(Compression::Gzip, MIB), 2 * 64 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_weighed_as_it_comes_and_refused_when_there_is_no_room() {
        let in_flight = InFlight::new(4 * MIB as u64);
        let mut room = in_flight.enter(1024).await.unwrap();
        let body = read(Body::from(vec![0; MIB]), 2 * MIB, &mut room, WAIT).await.unwrap();
        assert!(body.len() == MIB && room.bytes() >= 2 * MIB);
        let mut other = in_flight.enter(1024).await.unwrap();
        let refused = read(Body::from(vec![0; MIB]), 2 * MIB, &mut other, WAIT).await.unwrap_err();
        assert_eq!(refused.label, no_room(WAIT).label);
        drop(room);
        read(Body::from(vec![0; MIB]), 2 * MIB, &mut other, WAIT).await.unwrap();
        let large = read(Body::from(vec![0; MIB]), MIB - 1, &mut other, WAIT).await.unwrap_err();
        assert_eq!(large.http, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
