//! What a rollback comes to, cluster by cluster.

use std::time::{Duration, Instant};

use bellwether_api::{call::UnitList, view::RunView};

use crate::{
    args::{ActionArgs, Global},
    client::Client,
    failure::{Code, Failure},
    kind::run_path,
    output::{Screen, print},
    render::rollback::{Place, Row, facts, table},
    watch::{Follow, Until, follow as follow_run},
};

/// How often it is looked whether a part of a run is back.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Prints where each cluster stands on its way back, after the end where that is waited for. Fails
/// where a cluster failed; where the end was waited for, also where one is not back.
///
/// # Errors
/// What the hub refused, or the end did not come in time.
pub async fn follow(
    client: &Client,
    global: &Global,
    args: &ActionArgs,
    to_revision: Option<u64>,
) -> anyhow::Result<Code> {
    let place = Place {
        wave: args.wave.as_deref(),
        cluster: args.cluster.as_deref(),
        revision: to_revision,
    };
    let waits = args.wait || args.timeout.is_some();
    if waits && !place.is_part() {
        let how = Follow {
            until: Until::Ended,
            format: None,
            timeout: args.timeout,
        };
        follow_run(client, global, &Screen::new(global), &args.name, how).await?;
    }
    let mut rows = look(client, global, args, place).await?;
    if waits && place.is_part() {
        let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
        while !rows.iter().all(|row| row.done) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                print(&table(&rows))?;
                return Err(Failure::Timeout("not every cluster is back".to_owned()).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            rows = look(client, global, args, place).await?;
        }
    }
    print(&table(&rows))?;
    let failed = rows.iter().any(|row| row.failed || waits && !row.done);
    Ok(if failed { Code::Failed } else { Code::Done })
}

async fn look(
    client: &Client,
    global: &Global,
    args: &ActionArgs,
    place: Place<'_>,
) -> anyhow::Result<Vec<Row>> {
    let view: RunView = client.get(&run_path(global, &args.name, "status")).await?;
    let units: UnitList = client
        .get(&run_path(global, &args.name, "clusters"))
        .await?;
    Ok(facts(&view, &units.items, place))
}
