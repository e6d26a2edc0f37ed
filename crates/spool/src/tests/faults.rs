//! What a spool makes of losses: of records, of a sync, of time.

use super::*;

#[tokio::test]
async fn a_batch_that_is_gone_does_not_hold_up_what_comes_after_it() {
    for gone in ["its records", "its file"] {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = {
            let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
            for i in 0..10 {
                writer.append(format!("lost {i}").as_bytes()).unwrap();
            }
            let first = reader.next_batch(5, 1000, NO_LINGER).await;
            reader.commit(first.to).unwrap();
            let batch = reader.next_batch(10, 1000, NO_LINGER).await;
            reader.set_intent(batch.from, batch.to).await.unwrap();
            (batch.from, batch.to)
        };
        for segment in segments(dir.path()) {
            if gone == "its file" {
                std::fs::remove_file(segment).unwrap();
            } else {
                std::fs::File::options().write(true).open(segment).unwrap().set_len(from.0).unwrap();
            }
        }
        let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
        writer.append(b"new").unwrap();
        let next = reader.next_batch(10, 1000, NO_LINGER);
        let batch = tokio::time::timeout(Duration::from_secs(5), next).await.expect(gone);
        assert_eq!(texts(&batch), ["new"]);
        assert!(batch.from >= to);
        assert_eq!(writer.stats().corrupt, 1, "{gone}");
        reader.commit(batch.to).unwrap();
        assert_eq!(reader.pending_intent(), None);
    }
}

#[tokio::test]
async fn a_failed_sync_of_one_file_does_not_leave_out_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader) = Spool::open(options(dir.path())).unwrap();
    writer.append(b"one").unwrap();
    // Linux refuses to sync this one.
    let unsyncable = || std::sync::Arc::new(std::fs::File::open("/dev/null").unwrap());
    reader.keeper.log.lock().todo.closed.extend([unsyncable(), unsyncable()]);
    writer.sync().await.unwrap_err();
    // The second fails in a round of its own, and then the segment's file is synced.
    let both = async {
        while writer.stats().sync_errors < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    writer.sync().await.unwrap();
    assert_eq!(writer.stats().sync_errors, 2);
}

#[tokio::test]
async fn the_oldest_record_ages_until_it_is_committed_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (writer, _reader) = Spool::open(options(dir.path())).unwrap();
        assert_eq!(writer.stats().oldest, Duration::ZERO);
        writer.append(b"one").unwrap();
        writer.sync().await.unwrap();
        let path = segments(dir.path()).remove(0);
        let hour_ago = std::fs::metadata(&path).unwrap().modified().unwrap() - Duration::from_hours(1);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
    }
    let (writer, mut reader) = Spool::open(options(dir.path())).unwrap();
    writer.append(b"two").unwrap();
    writer.sync().await.unwrap();
    assert!(writer.stats().oldest >= Duration::from_hours(1), "{:?}", writer.stats());
    let first = reader.next_batch(1, 1000, NO_LINGER).await;
    reader.commit(first.to).unwrap();
    let age = writer.stats().oldest;
    assert!(age > Duration::ZERO && age < Duration::from_mins(10), "{age:?}");
    let second = reader.next_batch(1, 1000, NO_LINGER).await;
    reader.commit(second.to).unwrap();
    assert_eq!(writer.stats().oldest, Duration::ZERO);

    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(Metrics::new("gateway", writer)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "gateway_spool_oldest_seconds 0\n",
        "gateway_spool_records_total 1\n",
        "gateway_spool_read_errors_total 0\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
