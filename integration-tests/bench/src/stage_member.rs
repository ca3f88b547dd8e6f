//! One hub with a lab of clusters and the real agent: P3, P7, P9's agent, many rollouts, P10.

mod apply;
mod checks;
mod rollback;
mod rollouts;
mod start;
mod workloads;

use anyhow::Result;
use bellwether_integration_tests::{cli::Cli, lab::Lab, process::workspace_binary};

use crate::{
    api::Api,
    hub::Hub,
    member::Member,
    plan::{Measure, Plan},
    report::Report,
};

/// The lab that this program brings up.
const LAB: &str = "bench";

/// A lab that is taken down at the end if this program brought it up.
struct OwnLab {
    lab: Lab,
    is_ours: bool,
}

impl OwnLab {
    fn up(plan: &Plan, real: usize, control_plane: usize) -> Result<Self> {
        // A lab that is up is used as it is: bringing it up with other clusters would replace it.
        match &plan.lab_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)?;
                Ok(Self {
                    lab: serde_json::from_str(&text)?,
                    is_ours: false,
                })
            }
            None => Ok(Self {
                lab: Lab::up(LAB, real, control_plane)?,
                is_ours: true,
            }),
        }
    }
}

impl Drop for OwnLab {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = Lab::down(&self.lab.name)
        {
            eprintln!("the lab {} did not stop: {error:#}", self.lab.name);
        }
    }
}

/// What the measurements of this stage work with.
struct Stage<'a> {
    plan: &'a Plan,
    lab: &'a Lab,
    api: Api,
    cli: Cli,
}

/// Measures what the plan wants of this stage.
///
/// # Errors
/// When something does not start or breaks; what was measured before is in the report.
pub async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let process = [Measure::P3, Measure::P7, Measure::P9, Measure::Rollouts]
        .iter()
        .any(|one| plan.wants(*one));
    let pod = plan.wants(Measure::P10);
    if !process && !pod {
        return Ok(());
    }
    let owned =
        tokio::task::block_in_place(|| OwnLab::up(plan, usize::from(pod), usize::from(process)))?;
    let folder = plan.directory.join("member");
    let _absent = std::fs::remove_dir_all(&folder);
    let mut hub = Hub::start(folder.join("hub"), &owned.lab.bridge_address)?;
    let stage = Stage {
        plan,
        lab: &owned.lab,
        api: hub.api()?,
        cli: Cli::at(workspace_binary("bellwether")?, hub.data().join("hub.sock")),
    };
    if process {
        let cluster = stage.lab.cluster("k1")?;
        let mut member =
            Member::register(&stage.cli, &stage.api, cluster, &folder.join("k1")).await?;
        if plan.wants(Measure::P7) {
            workloads::measure(&stage, &member, report).await?;
        }
        if plan.wants(Measure::P9) {
            start::measure(&stage, &mut member, report).await?;
        }
        if plan.wants(Measure::P3) {
            apply::measure(&stage, &member, report).await?;
        }
        if plan.wants(Measure::Rollouts) {
            rollouts::measure(&stage, &member, report).await?;
        }
        member.stop()?;
    }
    if pod {
        rollback::measure(&stage, report).await?;
    }
    hub.stop()
}
