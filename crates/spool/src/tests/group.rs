//! Appends of many tasks at once, and what the reader then need not read.

use super::*;
use bytes::Bytes;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio::task::JoinSet;

/// Appends from a task each, in order of their spawning; the answers in that order.
async fn append_at_once(writer: &Writer, records: &[Vec<u8>]) -> Vec<Result<Position, AppendError>> {
    let mut tasks = JoinSet::new();
    for (at, record) in records.iter().cloned().enumerate() {
        let writer = writer.clone();
        tasks.spawn(async move { (at, writer.append_grouped(Bytes::from(record)).await) });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn numbered(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("{i:0len$}").into_bytes()).collect()
}

fn as_texts(records: &[Vec<u8>]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.clone()).unwrap()).collect()
}

#[tokio::test]
async fn tasks_of_one_turn_share_a_write_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    let records = numbered(50, 100);
    let ends: Vec<Position> =
        append_at_once(&writer, &records).await.into_iter().collect::<Result<_, _>>().unwrap();
    // All were told the end of the group.
    assert_eq!(ends, vec![Position(writer.stats().pending_bytes + 32); 50]);
    assert_eq!(drain(&mut reader).await, as_texts(&records));
}

#[tokio::test]
async fn a_group_of_any_size_is_written_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    // More than one write takes, with one that is more by itself.
    let mut records = numbered(8, 50_000);
    records.insert(3, vec![b'l'; 300_000]);
    let answers = append_at_once(&writer, &records).await;
    assert!(answers.iter().map(|answer| answer.as_ref().unwrap()).is_sorted());
    assert_eq!(drain(&mut reader).await, as_texts(&records));
}

#[tokio::test]
async fn in_a_group_that_does_not_fit_each_gets_an_answer_of_its_own_and_is_counted_once() {
    for full in [FullPolicy::Refuse, FullPolicy::DropAndCount] {
        let dir = tempfile::tempdir().unwrap();
        let (writer, mut reader) = Spool::open(Options { full, ..small(dir.path()) }).unwrap();
        let mut records = numbered(20, 6_000);
        records[2] = vec![0; MAX_RECORD_BYTES + 1];
        let answers = append_at_once(&writer, &records).await;
        assert!(matches!(answers[2], Err(AppendError::TooLarge { .. })));
        let refused = answers.iter().filter(|a| matches!(a, Err(AppendError::Full { .. }))).count() as u64;
        let stats = writer.stats();
        let lost = if full == FullPolicy::Refuse { stats.refused } else { stats.dropped };
        assert_eq!((stats.refused, stats.records + lost), (refused, 19));
        assert!((8..11).contains(&stats.records), "{stats:?}");
        assert_eq!(drain(&mut reader).await.len() as u64, stats.records);
    }
}

#[tokio::test]
async fn a_leader_that_is_dropped_takes_nobodys_record_along() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut follower = pin!(writer.append_grouped(Bytes::from_static(b"follower")));
    {
        let mut leader = pin!(writer.append_grouped(Bytes::from_static(b"leader")));
        assert!(leader.as_mut().poll(&mut cx).is_pending());
        assert!(follower.as_mut().poll(&mut cx).is_pending());
        assert_eq!(writer.stats().records, 0);
    }
    assert_eq!(writer.stats().records, 2);
    assert!(matches!(follower.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    assert_eq!(drain(&mut reader).await, ["leader", "follower"]);
}

#[tokio::test]
async fn what_a_group_cannot_take_is_tried_alone_and_counted_though_its_tasks_have_left() {
    for full in [FullPolicy::Refuse, FullPolicy::DropAndCount] {
        let dir = tempfile::tempdir().unwrap();
        let (writer, mut reader) = Spool::open(Options { full, ..small(dir.path()) }).unwrap();
        writer.append(&vec![b'x'; 40_000]).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        {
            // Together they do not fit; the first does, the second does not.
            let mut leader = pin!(writer.append_grouped(Bytes::from(vec![b'y'; 15_000])));
            let mut follower = pin!(writer.append_grouped(Bytes::from(vec![b'z'; 15_000])));
            assert!(leader.as_mut().poll(&mut cx).is_pending());
            assert!(follower.as_mut().poll(&mut cx).is_pending());
        }
        let stats = writer.stats();
        assert_eq!((stats.records, stats.refused + stats.dropped), (2, 1), "{stats:?}");
        // A record that the policy drops is no failure.
        assert_eq!((stats.lost, stats.dropped), if full == FullPolicy::Refuse { (1, 0) } else { (0, 1) });
        assert_eq!(drain(&mut reader).await.len(), 2);
        // The leader's own.
        {
            let mut alone = pin!(writer.append_grouped(Bytes::from(vec![b'y'; 15_000])));
            assert!(alone.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(writer.stats().lost, if full == FullPolicy::Refuse { 2 } else { 0 });
    }
}

#[tokio::test]
async fn a_reader_that_keeps_up_reads_from_memory_and_one_that_does_not_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    let records = numbered(10, 100);
    append_at_once(&writer, &records).await;
    // The file is not what the reader looks at.
    let path = segments(dir.path()).remove(0);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, vec![0; bytes.len()]).unwrap();
    let batch = reader.next_batch(4, 1 << 20, NO_LINGER).await;
    assert_eq!(texts(&batch), as_texts(&records[..4]));
    std::fs::write(&path, &bytes).unwrap();
    // What was handed out once is no longer in memory.
    reader.rewind();
    assert_eq!(drain(&mut reader).await, as_texts(&records));
    reader.commit(reader.position()).unwrap();

    // More than is kept, and in the middle one that is not kept at all.
    let mut expected = numbered(900, 5_000);
    append_at_once(&writer, &expected).await;
    writer.append(b"alone").unwrap();
    append_at_once(&writer, &records).await;
    expected.push(b"alone".to_vec());
    expected.extend(records);
    assert_eq!(drain(&mut reader).await, as_texts(&expected));
    assert_eq!(writer.stats().corrupt, 0);
}
