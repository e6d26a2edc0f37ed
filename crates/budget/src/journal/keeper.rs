//! The thread beside the journal: it syncs now and then, and puts a snapshot in the place of old changes.

use super::files::{self, Recovered};
use super::record::{BucketState, Define};
use super::{Journal, JournalOptions, OpenError};
use crate::metrics::Metrics;
use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

/// Stops the thread when the last user of the journal is gone.
#[derive(Debug)]
pub(crate) struct Keeper {
    journal: Arc<Journal>,
    thread: Option<JoinHandle<()>>,
}

/// Everything that must be in a snapshot, bucket by bucket as it stands when it is asked for.
pub(crate) trait Source: Send + Sync + 'static {
    fn buckets(&self) -> Box<dyn Iterator<Item = (Define, BucketState)> + '_>;
}

impl Journal {
    /// Opens the journal in `options.dir` and reads what is there.
    pub(crate) fn open(
        options: JournalOptions,
        metrics: Arc<Metrics>,
    ) -> Result<(Arc<Self>, Recovered), OpenError> {
        let (journal, recovered) = files::open(options, metrics)?;
        Ok((Arc::new(journal), recovered))
    }

    /// Writes the first snapshot, so that what recovery decided is decided, and starts the thread.
    pub(crate) fn keep(self: &Arc<Self>, source: Arc<impl Source>) -> Result<Keeper, OpenError> {
        let dir = &self.options.dir;
        let base = self.tail().base;
        files::write_snapshot(dir, base, source.buckets())
            .map_err(OpenError::io("write a snapshot in", dir))?;
        let journal = Arc::clone(self);
        let thread = std::thread::Builder::new().name("budget-journal".to_owned());
        let thread =
            thread.spawn(move || journal.run(&*source)).map_err(OpenError::io("start a thread for", dir))?;
        Ok(Keeper { journal: Arc::clone(self), thread: Some(thread) })
    }

    fn run(&self, source: &impl Source) {
        loop {
            let mut tail = self.tail();
            while !tail.is_dirty && !tail.is_stopped {
                tail = self.work.wait(tail).unwrap_or_else(PoisonError::into_inner);
            }
            if !tail.is_stopped {
                // What is written meanwhile shares the sync.
                let wait =
                    self.work.wait_timeout_while(tail, self.options.fsync_interval, |tail| !tail.is_stopped);
                tail = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            let is_last = tail.is_stopped;
            let is_long = tail.end - tail.base > self.options.compact_bytes;
            tail.is_dirty = false;
            let file = Arc::clone(&tail.file);
            drop(tail);
            let mut outcome = file.sync_data();
            if is_long && !is_last {
                outcome = outcome.and_then(|()| self.compact(source));
            }
            if let Err(error) = outcome {
                self.metrics.journal_errors.inc();
                tracing::error!(%error, dir = %self.options.dir.display(), "could not sync or compact the budget journal");
            }
            if is_last {
                return;
            }
        }
    }

    fn compact(&self, source: &impl Source) -> io::Result<()> {
        // All that takes long happens before and after: under the mutex the file only gets its name.
        let file = Arc::new(files::prepare_segment(&self.options.dir)?);
        let (old, base) = {
            let mut tail = self.tail();
            let base = tail.end;
            files::name_segment(&self.options.dir, base)?;
            tail.base = base;
            tail.end = base + files::HEADER_LEN;
            (std::mem::replace(&mut tail.file, file), base)
        };
        old.sync_data()?;
        files::write_snapshot(&self.options.dir, base, source.buckets())?;
        self.metrics.compactions.inc();
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.journal.tail().is_stopped = true;
        self.journal.work.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the budget journal ended by a panic");
        }
    }
}
