//! `control-tower experiment …`: what can be done with any document, and to pause and resume.

use super::output::one;
use super::{ExperimentCommand, Work, documents};
use contracts::policy::Kind;
use contracts::policy::experiment::Status;

pub(super) async fn run(command: ExperimentCommand, work: Work) -> anyhow::Result<()> {
    let (which, status) = match command {
        ExperimentCommand::Kept(command) => return documents::run(Kind::Experiment, command, work).await,
        ExperimentCommand::Pause(which) => (which, Status::Paused),
        ExperimentCommand::Resume(which) => (which, Status::Running),
    };
    let experiments = work.control.experiments();
    let written = experiments.set_status(which.tenant.as_ref(), &which.name, status, work.now).await?;
    let is = if status == Status::Paused { "paused" } else { "running" };
    one(work.json, &written, |d| format!("experiment {} is {is}, at revision {}", d.name, d.revision))
}
