//! `control-tower cache …`: what can be done with any document, and to purge.

use super::output::one;
use super::{CacheCommand, Work, documents};
use contracts::policy::Kind;

pub(super) async fn run(command: CacheCommand, work: Work) -> anyhow::Result<()> {
    match command {
        CacheCommand::Kept(command) => documents::run(Kind::Cache, command, work).await,
        CacheCommand::Purge(which) => {
            let purged = work.control.caches().purge(which.tenant.as_ref(), &which.name, work.now).await?;
            one(work.json, &purged, |d| format!("cache {} is purged, at revision {}", d.name, d.revision))
        }
    }
}
