//! Where applications are placed: `plan`, `explain placement`, `cordon`, `uncordon`, `drain`.

use bellwether_api::call::{
    ApplicationPlan, Condition, CordonRequest, DrainView, Item, PlacementChange, PlacementView,
    PlanView,
};
use http::Method;

use crate::{
    apply::refused,
    args::{CordonArgs, Format, Global, PlanArgs},
    client::{Body, Client},
    documents::Documents,
    failure::Code,
    kind::{Kind, segment},
    output::{document, note, print},
    render::list::grid,
};

/// Prints what would change where if documents were applied.
///
/// # Errors
/// What the hub refused, or what could not be read.
pub async fn plan(client: &Client, global: &Global, args: &PlanArgs) -> anyhow::Result<Code> {
    let documents = Documents::read(&args.files)?;
    let path = format!("/api/v1/plan?namespace={}", segment(&global.namespace));
    let body = Body::Bytes("application/yaml", documents.body.clone().into());
    let view: PlanView = match client.call(Method::POST, &path, body).await {
        Ok(view) => view,
        Err(error) => return refused(error, &documents),
    };
    for warning in &view.warnings {
        note(&format!("warning: {warning}"));
    }
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => document(&view, format)?,
        _ => print(&planned(&view))?,
    }
    Ok(Code::Done)
}

fn planned(view: &PlanView) -> String {
    if view.applications.is_empty() {
        return "no application would be placed otherwise\n".to_owned();
    }
    let applications = view.applications.iter().map(planned_application);
    applications.collect::<Vec<String>>().join("\n")
}

fn planned_application(plan: &ApplicationPlan) -> String {
    let count = |change: PlacementChange| {
        let changes = plan.clusters.iter();
        changes.filter(|one| one.change == change).count()
    };
    let mut text = format!(
        "application/{} in namespace {}: {} added, {} kept, {} removed\n",
        plan.application,
        plan.namespace,
        count(PlacementChange::Added),
        count(PlacementChange::Kept),
        count(PlacementChange::Removed),
    );
    text.push_str(&said(&plan.conditions));
    let divides = plan.clusters.iter().any(|one| !one.replicas.is_empty());
    let rows = plan.clusters.iter().map(|one| {
        let mut row = vec![
            match one.change {
                PlacementChange::Added => "+",
                PlacementChange::Kept => " ",
                PlacementChange::Removed => "-",
            }
            .to_owned(),
            one.cluster.clone(),
            one.wave.clone().unwrap_or_else(|| "-".to_owned()),
            one.why.clone(),
        ];
        if divides {
            row.push(joined(one.replicas.iter()));
        }
        row
    });
    let titles = ["", "CLUSTER", "WAVE", "WHY", "REPLICAS"];
    text.push_str(&grid(&titles[..4 + usize::from(divides)], rows));
    text
}

/// What there is to say, in one cell.
fn joined<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    let texts: Vec<&str> = texts.map(String::as_str).collect();
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join("; ")
    }
}

fn said(conditions: &[Condition]) -> String {
    let lines = conditions.iter();
    lines
        .map(|one| format!("  {}: {}\n", one.kind, one.message))
        .collect()
}

/// Prints of every cluster why an application is placed there or not.
///
/// # Errors
/// What the hub refused.
pub async fn explain(
    client: &Client,
    global: &Global,
    name: &str,
    format: Option<Format>,
) -> anyhow::Result<Code> {
    let path = Kind::Application.path(&global.namespace, name);
    let view: PlacementView = client.get(&format!("{path}/placement")).await?;
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => document(&view, format)?,
        _ => print(&explained(&view))?,
    }
    Ok(Code::Done)
}

fn explained(view: &PlacementView) -> String {
    let wanted = view
        .wanted
        .map_or_else(String::new, |wanted| format!(" of {wanted} wanted"));
    let mut text = format!(
        "application/{}: {}{wanted} clusters chosen, {} looked at\n",
        view.application,
        view.chosen,
        view.clusters.len(),
    );
    text.push_str(&said(&view.conditions));
    let divides = view.clusters.iter().any(|one| !one.replicas.is_empty());
    let rows = view.clusters.iter().map(|one| {
        let word = |holds: bool| if holds { "yes" } else { "no" };
        let mut row = vec![
            one.cluster.clone(),
            word(one.chosen).to_owned(),
            word(one.has_it).to_owned(),
            one.why.clone(),
            joined(one.groups.iter().chain(&one.scores)),
        ];
        if divides {
            row.push(joined(one.replicas.iter()));
        }
        row
    });
    let titles = [
        "CLUSTER",
        "CHOSEN",
        "HAS-IT",
        "WHY",
        "GROUPS-AND-SCORES",
        "REPLICAS",
    ];
    text.push_str(&grid(&titles[..5 + usize::from(divides)], rows));
    text
}

/// Closes a cluster for what is placed anew.
///
/// # Errors
/// What the hub refused.
pub async fn cordon(client: &Client, args: &CordonArgs) -> anyhow::Result<Code> {
    close(client, args, false).await?;
    print(&format!(
        "cluster/{name} cordoned; what it has stays\n  undo  bellwether uncordon {name}\n",
        name = args.name
    ))?;
    Ok(Code::Done)
}

async fn close(client: &Client, args: &CordonArgs, drain: bool) -> anyhow::Result<()> {
    let request = CordonRequest {
        drain,
        reason: args.reason.clone(),
    };
    let path = format!("{}/cordon", Kind::Cluster.path("", &args.name));
    let _: Item = client
        .call(Method::PUT, &path, Body::json(&request)?)
        .await?;
    Ok(())
}

/// Opens a cluster again.
///
/// # Errors
/// What the hub refused.
pub async fn uncordon(client: &Client, name: &str) -> anyhow::Result<Code> {
    let path = format!("{}/cordon", Kind::Cluster.path("", name));
    let _: Item = client.call(Method::DELETE, &path, Body::Empty).await?;
    print(&format!("cluster/{name} takes applications again\n"))?;
    Ok(Code::Done)
}

/// Drains a cluster and says what moves and what cannot.
///
/// # Errors
/// What the hub refused.
pub async fn drain(client: &Client, args: &CordonArgs) -> anyhow::Result<Code> {
    close(client, args, true).await?;
    let path = format!("{}/drain", Kind::Cluster.path("", &args.name));
    let view: DrainView = client.get(&path).await?;
    print(&drained(&view))?;
    Ok(Code::Done)
}

fn drained(view: &DrainView) -> String {
    let moving = view.applications.iter().filter(|one| one.moves).count();
    let staying = view.applications.len() - moving;
    let mut text = format!(
        "cluster/{name} drained: {moving} applications move, {staying} cannot\n",
        name = view.cluster
    );
    let rows = view.applications.iter().map(|one| {
        vec![
            one.namespace.clone(),
            one.application.clone(),
            if one.moves { "moves" } else { "stays" }.to_owned(),
            one.why.clone(),
        ]
    });
    if !view.applications.is_empty() {
        text.push_str(&grid(&["NAMESPACE", "NAME", "WHAT", "WHY"], rows));
    }
    text.push_str(&format!("  undo  bellwether uncordon {}\n", view.cluster));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_says_what_changes_where_why_and_when() {
        let view: PlanView = serde_json::from_value(json!({"applications": [{
            "application": "shop", "namespace": "default",
            "conditions": [{"type": "TooFewClusters", "status": "True", "reason": "TooFewClusters",
                            "message": "2 of 3 clusters fit"}],
            "clusters": [
                {"cluster": "de-1", "change": "Kept", "why": "it has the application and fits",
                 "wave": "canary"},
                {"cluster": "us-1", "change": "Added", "why": "it fits", "wave": "rest"},
                {"cluster": "us-2", "change": "Removed", "why": "its taint gpu is not tolerated"}]}]}))
        .expect("a view");
        insta::assert_snapshot!(planned(&view));
    }

    #[test]
    fn replicas_show_where_they_are_divided() {
        let view: PlanView = serde_json::from_value(json!({"applications": [{
            "application": "shop", "namespace": "default", "clusters": [
                {"cluster": "de-1", "change": "Added", "why": "it fits", "wave": "install",
                 "replicas": ["Deployment/web 3 of 10", "weight 3"]}]}]}))
        .expect("a view");
        let text = planned(&view);
        assert!(text.contains("REPLICAS"), "{text}");
        assert!(text.contains("Deployment/web 3 of 10; weight 3"), "{text}");
    }

    #[test]
    fn an_explanation_has_one_line_a_cluster() {
        let view: PlacementView = serde_json::from_value(json!({
            "application": "shop", "namespace": "default", "chosen": 1, "wanted": 1,
            "clusters": [
                {"cluster": "de-1", "chosen": true, "hasIt": true,
                 "why": "it has the application and fits", "scores": ["ReadyNodes 3 (most first)"],
                 "groups": ["region de"]},
                {"cluster": "us-1", "chosen": false, "hasIt": false, "why": "it is cordoned"}]}))
        .expect("a view");
        insta::assert_snapshot!(explained(&view));
    }

    #[test]
    fn a_drain_says_what_it_cannot_move() {
        let view: DrainView = serde_json::from_value(json!({
            "cluster": "de-1", "draining": true, "applications": [
                {"application": "shop", "namespace": "default", "moves": true,
                 "why": "it leaves once us-1 have it and are healthy"},
                {"application": "logs", "namespace": "system", "moves": false,
                 "why": "it goes to every cluster of its destination"}]}))
        .expect("a view");
        insta::assert_snapshot!(drained(&view));
    }
}
