//! The spool's promises, one a test; random schedules against a model in `model`, a killed process in `tests/kill.rs`.

use super::*;
use crate::segment::Segment;
use std::os::unix::fs::FileExt;
use std::path::Path;

mod faults;
mod group;
mod model;

const NO_LINGER: Duration = Duration::ZERO;

fn options(dir: &Path) -> Options {
    Options { fsync_interval: Duration::from_millis(5), ..Options::new(dir) }
}

fn small(dir: &Path) -> Options {
    Options { max_bytes: 64 * 1024, segment_bytes: 4096, ..options(dir) }
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.records.iter().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect()
}

/// Everything that can be read now.
async fn drain(reader: &mut Reader) -> Vec<String> {
    let mut all = Vec::new();
    while reader.has_data() {
        // A damaged tail is no data, so that a read may wait: bounded, for nothing will come.
        let next = reader.next_batch(1000, 1 << 20, NO_LINGER);
        let Ok(batch) = tokio::time::timeout(Duration::from_millis(300), next).await else { break };
        all.extend(texts(&batch));
    }
    all
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn records_come_out_in_order_across_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..4 {
        let (writer, _reader) = Spool::open(small(dir.path())).unwrap();
        for i in 0..30 {
            let record = format!("record {round} {i} {}", "x".repeat(i * 20));
            writer.append(record.as_bytes()).unwrap();
            expected.push(record);
        }
    }
    let (_writer, mut reader) = Spool::open(small(dir.path())).unwrap();
    assert!(segments(dir.path()).len() > 4);
    assert_eq!(drain(&mut reader).await, expected);
}

#[tokio::test]
async fn the_cursor_survives_and_uncommitted_records_come_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
        for i in 0..10 {
            writer.append(format!("{i}").as_bytes()).unwrap();
        }
        let first = reader.next_batch(4, 1000, NO_LINGER).await;
        assert_eq!(texts(&first), ["0", "1", "2", "3"]);
        let second = reader.next_batch(4, 1000, NO_LINGER).await;
        assert_eq!(texts(&second), ["4", "5", "6", "7"]);
        assert_eq!(second.from, first.to);
        reader.commit(first.to).unwrap();
        reader.rewind();
        assert_eq!(reader.next_batch(4, 1000, NO_LINGER).await, second);
    }
    let (_writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    assert_eq!(drain(&mut reader).await, ["4", "5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn a_batch_is_bounded_in_records_and_bytes_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    for record in ["aaaa", "bbbb", "cccc", "dddddddddddd", ""] {
        writer.append(record.as_bytes()).unwrap();
    }
    assert_eq!(texts(&reader.next_batch(10, 8, NO_LINGER).await), ["aaaa", "bbbb"]);
    assert_eq!(texts(&reader.next_batch(10, 8, NO_LINGER).await), ["cccc"]);
    assert_eq!(texts(&reader.next_batch(0, 0, NO_LINGER).await), ["dddddddddddd"]);
    assert_eq!(texts(&reader.next_batch(10, 8, NO_LINGER).await), [""]);
    assert!(!reader.has_data());
}

#[tokio::test]
async fn a_waiting_reader_is_woken_and_lingers_for_more() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    let long = Duration::from_secs(30);
    let waiting = tokio::spawn(async move {
        let batch = reader.next_batch(3, 1000, long).await;
        (batch, reader)
    });
    for i in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        writer.append(format!("{i}").as_bytes()).unwrap();
    }
    // Three records are enough: the linger of half a minute ends at once.
    let (batch, mut reader) = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(texts(&batch), ["0", "1", "2"]);

    let waiting =
        tokio::spawn(
            async move { texts(&reader.next_batch(1000, 1 << 20, Duration::from_millis(50)).await) },
        );
    tokio::time::sleep(Duration::from_millis(20)).await;
    writer.append(b"alone").unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap(), ["alone"]);
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    writer.append(b"kept").unwrap();
    for _ in 0..20 {
        let read = reader.next_batch(10, 1000, Duration::from_secs(9));
        assert!(tokio::time::timeout(Duration::from_millis(2), read).await.is_err());
    }
    assert_eq!(texts(&reader.next_batch(10, 1000, NO_LINGER).await), ["kept"]);
}

#[tokio::test]
async fn a_full_spool_refuses_or_drops_and_takes_again_after_a_commit() {
    for full in [FullPolicy::Refuse, FullPolicy::DropAndCount] {
        let dir = tempfile::tempdir().unwrap();
        let (writer, mut reader) = Spool::open(Options { full, ..small(dir.path()) }).unwrap();
        let mut fitting = 0;
        let mut warned_at = None;
        for i in 0..200 {
            if writer.is_full() && warned_at.is_none() {
                warned_at = Some(i);
            }
            match writer.append(&[b'x'; 1000]) {
                Ok(_) if writer.stats().dropped == 0 => fitting += 1,
                Ok(_) => assert_eq!(full, FullPolicy::DropAndCount),
                Err(AppendError::Full { max_bytes, .. }) => {
                    assert_eq!((full, max_bytes), (FullPolicy::Refuse, 64 * 1024));
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!((55..=64).contains(&fitting), "{fitting}");
        // The warning comes early enough for what is under way.
        assert!(warned_at.is_some_and(|at| at + 4 < fitting), "{warned_at:?}");
        let stats = writer.stats();
        assert_eq!(stats.refused + stats.dropped, 200 - fitting);
        assert!(stats.bytes <= stats.max_bytes);
        // Durable appends never pretend.
        assert!(matches!(writer.append_durable(&[&[b'x'; 1000]]).await, Err(AppendError::Full { .. })));

        let batch = reader.next_batch(1000, 1 << 20, NO_LINGER).await;
        assert_eq!(batch.records.len() as u64, fitting);
        reader.commit(batch.to).unwrap();
        assert_eq!(writer.stats().pending_bytes, 0);
        assert_eq!(writer.stats().bytes, 0, "a full spool that was read gives everything back");
        assert!(!writer.is_full());
        // The files follow within an fsync interval.
        let gone = async {
            while !segments(dir.path()).is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
        writer.append(b"again").unwrap();
        assert_eq!(texts(&reader.next_batch(10, 1000, NO_LINGER).await), ["again"]);
    }
}

#[tokio::test]
async fn an_oversized_record_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _reader) = Spool::open(options(dir.path())).unwrap();
    let record = vec![0; MAX_RECORD_BYTES + 1];
    assert!(matches!(writer.append(&record), Err(AppendError::TooLarge { .. })));
    assert!(matches!(writer.append_durable(&[b"a", &record]).await, Err(AppendError::TooLarge { .. })));
    assert_eq!(writer.stats().records, 0);
}

#[tokio::test]
async fn a_large_record_passes_through() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    writer.append(b"before").unwrap();
    writer.append(&large).unwrap();
    writer.append(b"after").unwrap();
    let batch = reader.next_batch(10, 10 << 20, NO_LINGER).await;
    assert_eq!(batch.records.len(), 3);
    assert_eq!(batch.records[1], large);
    assert_eq!(batch.records[2], "after");
}

#[tokio::test]
async fn durable_appends_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    // An interval that never comes: only the wish to be durable makes a sync happen.
    let (writer, mut reader) =
        Spool::open(Options { fsync_interval: Duration::from_hours(1), ..options(dir.path()) }).unwrap();
    let mut appends = tokio::task::JoinSet::new();
    for i in 0..64 {
        let writer = writer.clone();
        appends
            .spawn(async move { writer.append_durable(&[format!("{i}").as_bytes(), b"+"]).await.unwrap() });
    }
    let mut ends = appends.join_all().await;
    ends.sort();
    ends.dedup();
    assert_eq!(ends.len(), 64);
    assert_eq!(drain(&mut reader).await.len(), 128);
}

#[tokio::test]
async fn the_extent_of_a_batch_is_repeated_exactly_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (identity, from, to) = {
        let (writer, mut reader) = Spool::open(small(dir.path())).unwrap();
        for i in 0..50 {
            writer.append(format!("{i} {}", "y".repeat(200)).as_bytes()).unwrap();
        }
        let batch = reader.next_batch(33, 1 << 20, NO_LINGER).await;
        assert_eq!(batch.records.len(), 33);
        reader.set_intent(batch.from, batch.to).await.unwrap();
        (reader.identity(), batch.from, batch.to)
    };
    let (writer, mut reader) = Spool::open(small(dir.path())).unwrap();
    writer.append(b"late").unwrap();
    assert_eq!(reader.identity(), identity);
    assert_eq!(reader.pending_intent(), Some((from, to)));
    let batch = reader.next_batch(5, 10, NO_LINGER).await;
    assert_eq!((batch.from, batch.to, batch.records.len()), (from, to, 33));
    reader.commit(to).unwrap();
    assert_eq!(reader.pending_intent(), None);
    assert_eq!(drain(&mut reader).await.len(), 18);
}

#[tokio::test]
async fn a_position_is_never_used_twice_even_if_records_were_lost_with_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let to = {
        let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
        for i in 0..10 {
            writer.append(format!("lost {i}").as_bytes()).unwrap();
        }
        let batch = reader.next_batch(10, 1000, NO_LINGER).await;
        reader.set_intent(batch.from, batch.to).await.unwrap();
        batch.to
    };
    // The intent was synced, the segment was not.
    for segment in segments(dir.path()) {
        std::fs::File::options().write(true).open(segment).unwrap().set_len(40).unwrap();
    }
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    assert!(writer.append(b"new").unwrap() > to);
    let batch = reader.next_batch(10, 1000, NO_LINGER).await;
    assert_eq!(texts(&batch), ["new"]);
    assert!(batch.to > to);
    assert_eq!(writer.stats().torn, 1);
}

#[tokio::test]
async fn a_damaged_record_costs_only_itself_and_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (writer, _reader) = Spool::open(options(dir.path())).unwrap();
        for i in 0..5 {
            writer.append(format!("record {i}").as_bytes()).unwrap();
        }
    }
    let path = segments(dir.path()).remove(0);
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    // The length of the second record: what follows can only be found by searching.
    file.write_all_at(&[0xff], 32 + 20 + 5).unwrap();
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    let expected = ["record 0", "record 2", "record 3", "record 4"];
    assert_eq!(drain(&mut reader).await, expected);
    reader.rewind();
    assert_eq!(drain(&mut reader).await, expected);
    assert_eq!(writer.stats().corrupt, 1);
}

#[tokio::test]
async fn bytes_inside_of_a_record_never_pass_for_a_record() {
    let donor = tempfile::tempdir().unwrap();
    {
        let (writer, _reader) = Spool::open(options(donor.path())).unwrap();
        writer.append(b"forged").unwrap();
    }
    let forged = std::fs::read(segments(donor.path()).remove(0)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    {
        let (writer, _reader) = Spool::open(options(dir.path())).unwrap();
        writer.append(&forged).unwrap();
        // Its own genuine frame, at another place.
        let own = std::fs::read(segments(dir.path()).remove(0)).unwrap();
        writer.append(&own).unwrap();
        writer.append(b"genuine").unwrap();
    }
    let path = segments(dir.path()).remove(0);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0, 0], 32).unwrap();
    let second = 32 + 12 + forged.len() as u64;
    file.write_all_at(&[0, 0], second).unwrap();
    let (_writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    assert_eq!(drain(&mut reader).await, ["genuine"]);
}

#[tokio::test]
async fn a_file_that_is_used_again_shows_nothing_of_what_it_held() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("spare");
    let (writer, mut reader) = Spool::open(small(dir.path())).unwrap();
    let long = |name: &str| [name.as_bytes(), &[b'.'; 500]].concat();
    // Segments are filled and read until the thread has kept a file, and then until that is a segment again.
    let mut count = 0;
    for goal in [true, false] {
        while kept.exists() != goal {
            assert!(count < 100_000, "no file was kept or none used again");
            writer.append_durable(&[&long("old")]).await.unwrap();
            let batch = reader.next_batch(10, 10_000, NO_LINGER).await;
            count += batch.records.len();
            reader.commit(batch.to).unwrap();
        }
    }
    writer.append(&long("new 1")).unwrap();
    writer.append(&long("new 2")).unwrap();
    let used = segments(dir.path()).pop().unwrap();
    // As the machine's end would leave it: longer than what was written, with old records behind.
    let left = std::fs::read(&used).unwrap();
    assert!(left.windows(3).filter(|bytes| bytes == b"old").count() > 2, "nothing old is left to be shown");
    drop((writer, reader));
    std::fs::write(&used, &left).unwrap();

    let (writer, mut reader) = Spool::open(small(dir.path())).unwrap();
    let texts: Vec<String> = drain(&mut reader).await.iter().map(|text| text[..5].to_owned()).collect();
    assert_eq!(texts, ["new 1", "new 2"]);
    let stats = writer.stats();
    assert_eq!((stats.corrupt, stats.torn), (0, 0));
    assert!(std::fs::metadata(&used).unwrap().len() < left.len() as u64, "what the file held before stays");
}

#[tokio::test]
async fn a_probe_tells_whether_the_disk_takes_more_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (here, away) = (dir.path().join("spool"), dir.path().join("away"));
    let (writer, reader) = Spool::open(small(&here)).unwrap();
    writer.probe().unwrap();
    writer.append(b"first").unwrap();
    writer.probe().unwrap();
    let length = std::fs::metadata(&segments(&here)[0]).unwrap().len();
    assert!(length < 4096, "{length} bytes are left");
    writer.append(&[b'x'; 5000]).unwrap();
    // The segment has grown enough, and where the directory was no other can be begun.
    std::fs::rename(&here, &away).unwrap();
    assert!(matches!(writer.probe(), Err(AppendError::Io { .. })));
    std::fs::rename(&away, &here).unwrap();
    writer.probe().unwrap();
    writer.append(b"last").unwrap();
    drop((writer, reader));
    let (writer, mut reader) = Spool::open(small(&here)).unwrap();
    let all = drain(&mut reader).await;
    assert_eq!((all.len(), all[0].as_str(), all[2].as_str()), (3, "first", "last"));
    assert_eq!(writer.stats().torn, 0);
}

#[test]
fn a_directory_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let open = Spool::open(options(dir.path())).unwrap();
    assert!(matches!(Spool::open(options(dir.path())), Err(OpenError::Locked { .. })));
    drop(open);
    Spool::open(options(dir.path())).unwrap();
}

#[test]
fn senseless_options_and_impossible_places_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Spool::open(Options { max_bytes: 10, ..options(dir.path()) }).unwrap_err().to_string();
    assert!(error.contains("max_bytes is 10"), "{error}");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Spool::open(options(&file)).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn appending_goes_on_when_the_disk_has_space_again() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut reader) = Spool::open(small(dir.path())).unwrap();
    writer.append(b"before").unwrap();
    // No new segment can be made: its name is taken by a directory, as if the disk were full.
    let blocked = 4096 + 32;
    writer.append(&vec![b'x'; 4096 - 18 - 12]).unwrap();
    std::fs::create_dir(dir.path().join(format!("{blocked:020}.segment"))).unwrap();
    let error = writer.append(b"refused").unwrap_err();
    assert!(
        matches!(&error, AppendError::Io { path, .. } if path.ends_with(format!("{blocked:020}.segment")))
    );
    assert_eq!(writer.stats().write_errors, 1);
    std::fs::remove_dir(dir.path().join(format!("{blocked:020}.segment"))).unwrap();
    writer.append(b"after").unwrap();
    let read = drain(&mut reader).await;
    assert_eq!((read.len(), read[0].as_str(), read[2].as_str()), (3, "before", "after"));
}
