//! Appends to the spool in the directory given, as fast as it can and until it is killed, and says on standard output what
//! has been acknowledged (`a TASK NUMBER`) and what a reader was handed (`r TASK NUMBER`). The test `kill` kills it.

use spool::{Options, Reader, Spool, Writer};
use std::io::Write;
use std::time::Duration;

const TASKS: usize = 3;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let dir = std::env::args_os().nth(1).ok_or("expected the directory of a spool")?;
    let options = Options { segment_bytes: 256 * 1024, ..Options::new(dir) };
    let (writer, reader) = Spool::open(options)?;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(append(writer.clone(), task));
    }
    tasks.spawn(read(reader));
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// One line, written with one call: what is in the pipe outlives us.
fn say(line: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(line.as_bytes())
}

async fn append(writer: Writer, task: usize) -> Outcome {
    for number in 0_usize.. {
        // The number, then ballast of varying length.
        let mut record = format!("{task} {number} ").into_bytes();
        record.resize(record.len() + number * 37 % 3000, b'.');
        if task == 0 {
            writer.append_durable(&[&record]).await?;
        } else {
            writer.append(&record)?;
            tokio::task::yield_now().await;
        }
        say(&format!("a {task} {number}\n"))?;
    }
    Ok(())
}

async fn read(mut reader: Reader) -> Outcome {
    loop {
        let batch = reader.next_batch(50, 1 << 20, Duration::from_millis(1)).await;
        for record in &batch.records {
            let text = String::from_utf8_lossy(record);
            let mut words = text.split(' ');
            if let (Some(task), Some(number)) = (words.next(), words.next()) {
                say(&format!("r {task} {number}\n"))?;
            }
        }
        reader.commit(batch.to)?;
        // Slower than the writers, so that there is always a backlog.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
