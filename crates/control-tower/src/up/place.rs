//! The data directory: one tower at a time, readable by its owner alone.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the roles of a tower that was killed may take to end: longer than they drain by default.
const PREDECESSORS: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(50);

/// Process ids by role, of a tower that is up.
pub(super) const RUN_FILE: &str = "run.json";
/// Base URLs by role, of a tower that is up.
pub(super) const HEALTH_FILE: &str = "health.json";

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    /// Held, never read: the lock goes with the file.
    _lock: File,
}

impl Place {
    /// Creates the directory when missing and takes it; refuses when another tower has it.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let create = |path: &Path| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.with_context(|| format!("--data-dir {}: cannot be created", path.display()))
        };
        create(dir)?;
        let dir =
            dir.canonicalize().with_context(|| format!("--data-dir {}: cannot be used", dir.display()))?;
        for sub in ["spool", "gateway", "engine", "logs"] {
            create(&dir.join(sub))?;
        }
        let path = dir.join("up.lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.with_context(|| format!("{}: cannot be opened", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let holder = read_pids(&dir).and_then(|pids| pids.get("up").copied());
                let holder = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
                bail!(
                    "--data-dir {}: another control tower is up on it{holder}; stop it first, or choose another \
                     directory and another --port-base",
                    dir.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{}: cannot be locked", path.display()))
            }
        }
    }

    /// Waits until what a tower that was killed left behind has ended: its roles notice at once, but may have streams to
    /// drain, and until then they hold ports and directories that ours need.
    pub(crate) async fn wait_for_predecessors(&self) {
        let own = std::env::current_exe().ok();
        let lives = |pid: &u32| {
            let process = Path::new("/proc").join(pid.to_string()).join("exe");
            std::fs::read_link(process)
                .is_ok_and(|exe| exe.file_name() == own.as_deref().and_then(Path::file_name))
        };
        let Some(pids) = read_pids(&self.dir) else { return };
        let asked = Instant::now();
        while asked.elapsed() < PREDECESSORS {
            let left: Vec<&str> =
                pids.iter().filter(|(_, pid)| lives(pid)).map(|(role, _)| role.as_str()).collect();
            if left.is_empty() {
                return;
            }
            if asked.elapsed() < POLL {
                tracing::info!(
                    roles = left.join(", "),
                    "waiting for the last tower on this directory to end"
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The directory, absolute.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The processes that `DIR/run.json` names, by role; `None` when there is no such file.
pub(crate) fn read_pids(dir: &Path) -> Option<BTreeMap<String, u32>> {
    serde_json::from_slice(&std::fs::read(dir.join(RUN_FILE)).ok()?).ok()
}

/// Where the roles of a tower that is up answer `/healthz`, `/readyz` and `/metrics`, by role; `None` when there is no such
/// file.
pub(crate) fn read_urls(dir: &Path) -> Option<BTreeMap<String, String>> {
    serde_json::from_slice(&std::fs::read(dir.join(HEALTH_FILE)).ok()?).ok()
}

/// Replaces the file at `path` as a whole; only its owner may read it.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}
