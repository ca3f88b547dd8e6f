//! What is measured, how often and on how much.

use std::{path::PathBuf, time::Duration};

use bellwether_integration_tests::process::repository;

/// Measures Bellwether on this machine; nothing leaves it.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bellwether-bench", version)]
pub struct Plan {
    /// What to measure; everything unless given
    #[arg(long, value_enum, value_delimiter = ',', value_name = "P1,…")]
    pub only: Vec<Measure>,
    /// Simulated agents
    #[arg(long, default_value_t = 1_000)]
    pub agents: usize,
    /// Changes a second in P2
    #[arg(long, default_value_t = 50)]
    pub rate: u32,
    /// Changes of one run of P2
    #[arg(long, default_value_t = 1_000)]
    pub changes: usize,
    /// Changes of one run of P3
    #[arg(long, default_value_t = 100)]
    pub applies: usize,
    /// Workloads of P7
    #[arg(long, default_value_t = 200)]
    pub workloads: usize,
    /// Rollouts of one cluster that are under way at once
    #[arg(long, default_value_t = 500)]
    pub rollouts: usize,
    /// Seconds between two checks of a rollout, of the many that are under way at once
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub check_interval_seconds: u64,
    /// Clusters of which P11 plans the waves
    #[arg(long, default_value_t = 10_000)]
    pub clusters: usize,
    /// Clusters that one chart is rendered for
    #[arg(long, default_value_t = 1_000)]
    pub render_clusters: usize,
    /// Agents that reconnect at once
    #[arg(long, default_value_t = 10_000)]
    pub storm_agents: usize,
    /// Placements of the shape that KubeFleet measured itself by: 1,000 there, over `--agents`
    #[arg(long, default_value_t = 1_000)]
    pub placements: usize,
    /// Clusters of each of those placements
    #[arg(long, default_value_t = 100)]
    pub placement_clusters: usize,
    /// How many of those placements are asked for a second
    #[arg(long, default_value_t = 5)]
    pub placement_rate: u32,
    /// How many of them are rolled out at once
    #[arg(long, default_value_t = 100)]
    pub placement_rollouts: usize,
    /// How often each measurement is made
    #[arg(long, default_value_t = 3)]
    pub runs: usize,
    /// Seconds over which something idle is watched
    #[arg(long, default_value_t = 30)]
    pub idle_seconds: u64,
    /// Description (`lab.json`) of a lab that is up, for P3, P7, P9 and P10: clusters k1 and c1;
    /// without it a lab of its own is started and stopped
    #[arg(long, value_name = "FILE")]
    pub lab_file: Option<PathBuf>,
    /// Folder of the hubs' data and logs; emptied at the start
    #[arg(long, default_value = "/var/lib/bellwether-bench", value_name = "DIR")]
    pub directory: PathBuf,
    /// File that the figures are appended to
    #[arg(long, default_value_os_t = repository().join("docs/BENCHMARKS.md"), value_name = "FILE")]
    append_to: PathBuf,
    /// Print only
    #[arg(long)]
    no_append: bool,
    /// What else used the machine meanwhile, for the conditions
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub note: String,
    #[arg(skip)]
    pub append: Option<PathBuf>,
}

/// One measurement, by its number in the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// Memory of a connected idle agent
    P1,
    /// Change → acknowledged
    P2,
    /// Change → applied in an API server
    P3,
    /// Memory of the agent itself
    P7,
    /// Cold start of hub and agent
    P9,
    /// Sample → verdict, and failing verdict → route patched
    P10,
    /// Choosing clusters and planning waves of a large fleet
    P11,
    /// Many rollouts in one cluster
    Rollouts,
    /// One chart for many clusters
    Render,
    /// Agents that reconnect at once
    Storm,
    /// KubeFleet's shape: placements, rollouts in stages, the hub's restart, the database
    KubeFleet,
}

impl Plan {
    /// Reads the command line.
    pub fn parse() -> Self {
        let mut plan = <Self as clap::Parser>::parse();
        plan.append = (!plan.no_append).then(|| plan.append_to.clone());
        plan
    }

    /// Time between two checks of a rollout.
    pub const fn check_interval(&self) -> Duration {
        Duration::from_secs(self.check_interval_seconds)
    }

    /// Tells whether `measure` is to be made.
    pub fn wants(&self, measure: Measure) -> bool {
        self.only.is_empty() || self.only.contains(&measure)
    }
}
