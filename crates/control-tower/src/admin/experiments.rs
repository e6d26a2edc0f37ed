//! `control-tower experiment …`: what can be done with any document; to pause, resume, and see what is dealt.

use super::output::{list, one, print_json};
use super::{ExperimentCommand, Work, documents, when};
use crate::output::say;
use contracts::policy::Kind;
use contracts::policy::experiment::Status;
use control::records::{ArmShare, ExperimentShares};

pub(super) async fn run(command: ExperimentCommand, work: Work) -> anyhow::Result<()> {
    match command {
        ExperimentCommand::Kept(command) => documents::run(Kind::Experiment, command, work).await,
        ExperimentCommand::Pause(which) => set(which, Status::Paused, &work).await,
        ExperimentCommand::Resume(which) => set(which, Status::Running, &work).await,
        ExperimentCommand::Shares(which) => shares(which, &work).await,
    }
}

async fn set(which: documents::Which, status: Status, work: &Work) -> anyhow::Result<()> {
    let experiments = work.control.experiments();
    let written = experiments.set_status(which.tenant.as_ref(), &which.name, status, work.now).await?;
    let is = if status == Status::Paused { "paused" } else { "running" };
    one(work.json, &written, |d| format!("experiment {} is {is}, at revision {}", d.name, d.revision))
}

async fn shares(which: documents::Which, work: &Work) -> anyhow::Result<()> {
    let dealt = work.control.experiments().shares(which.tenant.as_ref(), &which.name).await?;
    if work.json {
        return print_json(&dealt);
    }
    list(false, &dealt.arms, ["arm", "weight", "observations", "mean", "share"], cells)?;
    say(&why(&dealt));
    Ok(())
}

fn cells(arm: &ArmShare) -> [String; 5] {
    [
        arm.name.clone(),
        arm.weight.to_string(),
        arm.observations.to_string(),
        arm.mean.map(|mean| format!("{mean:.6}")).unwrap_or_default(),
        format!("{:.1}%", arm.share * 100.0),
    ]
}

/// What the shares follow from.
fn why(dealt: &ExperimentShares) -> String {
    match (dealt.status, &dealt.metric) {
        (Status::Paused, _) => "paused: everybody gets the control".to_owned(),
        (Status::Running, None) => "shares are fixed by the weights".to_owned(),
        (Status::Running, Some(metric)) if dealt.is_adapted => {
            format!(
                "shares follow what was measured of {metric}, which last changed {}",
                when::shown(dealt.measured_at)
            )
        }
        (Status::Running, Some(metric)) => {
            format!("the weights hold as written until {metric} was measured often enough of every arm")
        }
    }
}
