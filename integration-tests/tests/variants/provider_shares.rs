//! Where a run writes the canary's share for each traffic provider, read without a line of what writes it.

use anyhow::{Context as _, Result, bail, ensure};
use bellwether_api::traffic::Provider;
use serde_json::Value;

use crate::provider_objects::SKIPPER_WEIGHTS;

const ALB_ACTION: &str = "alb.ingress.kubernetes.io/actions.";
const NGINX_WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";

/// The canary's share in percent of what leads to the Service `name`, in the user's object and in what the run made
/// beside it.
pub fn share(
    provider: Provider,
    name: &str,
    object: &Value,
    beside: Option<&Value>,
) -> Result<u64> {
    let nothing = Value::Null;
    let beside = beside.unwrap_or(&nothing);
    let annotation = |of: &Value, key: &str| {
        let annotations = of.pointer("/metadata/annotations");
        let found = annotations.and_then(|all| all.get(key)?.as_str());
        found.unwrap_or("null").to_owned()
    };
    let in_lists = |of: &Value, lists: &[&str], named: &str| in_lists(of, lists, named, name);
    match provider {
        Provider::Nginx => {
            let weight: Option<u64> = serde_json::from_str(&annotation(beside, NGINX_WEIGHT))?;
            Ok(weight.unwrap_or_default())
        }
        Provider::Alb => {
            let action = annotation(object, &format!("{ALB_ACTION}{name}"));
            let action: Value = serde_json::from_str(&action)?;
            in_lists(&action, &["/forwardConfig/targetGroups"], "/serviceName")
        }
        Provider::Skipper => {
            let weights: Value = serde_json::from_str(&annotation(object, SKIPPER_WEIGHTS))?;
            let of = |service: &str| weights.get(service).and_then(Value::as_u64);
            let canary = of(&format!("{name}-canary")).unwrap_or_default();
            let stable = of(name).context("the Service has a weight")?;
            Ok(canary * 100 / (canary + stable))
        }
        Provider::HttpRoute
        | Provider::GrpcRoute
        | Provider::TcpRoute
        | Provider::LinkerdHttpRoute => in_lists(object, &["/spec/rules/0/backendRefs"], "/name"),
        Provider::VirtualService => {
            let lists = [
                "/spec/http/0/route",
                "/spec/tcp/0/route",
                "/spec/tls/0/route",
            ];
            in_lists(object, &lists, "/destination/host")
        }
        Provider::ApisixRoute => in_lists(object, &["/spec/http/0/backends"], "/serviceName"),
        Provider::TraefikService => in_lists(object, &["/spec/weighted/services"], "/name"),
        Provider::IngressRoute | Provider::IngressRouteTcp | Provider::HttpProxy => {
            in_lists(object, &["/spec/routes/0/services"], "/name")
        }
        Provider::TrafficSplit => in_lists(object, &["/spec/backends"], "/service"),
        Provider::Kuma => {
            let list = "/spec/to/0/rules/0/default/backendRefs";
            in_lists(beside, &[list], "/name")
        }
        Provider::GlooRouteTable => {
            let list = "/spec/routes/0/routeAction/multi/destinations";
            in_lists(object, &[list], "/destination/kube/ref/name")
        }
        Provider::GlooVirtualService => {
            let list = "/spec/virtualHost/routes/0/routeAction/multi/destinations";
            in_lists(object, &[list], "/destination/upstream/name")
        }
        Provider::AppMesh => {
            let list = "/spec/routes/0/httpRoute/action/weightedTargets";
            in_lists(object, &[list], "/virtualNodeRef/name")
        }
        Provider::Knative | Provider::None => bail!("{provider:?} has no such object"),
    }
}

/// The share of what is named after the canary in lists that have to agree; a list that is not there has none.
fn in_lists(object: &Value, lists: &[&str], named: &str, name: &str) -> Result<u64> {
    let canary = format!("{name}-canary");
    let mut shares = lists.iter().map(|list| {
        let items = object.pointer(list).and_then(Value::as_array);
        let (mut own, mut all) = (0, 0);
        for item in items.into_iter().flatten() {
            let weight = item.get("weight").and_then(Value::as_u64).unwrap_or(1);
            let service = item.pointer(named).and_then(Value::as_str);
            let is_canary = service.is_some_and(|service| service.starts_with(&canary));
            own += if is_canary { weight } else { 0 };
            all += weight;
        }
        own * 100 / all.max(1)
    });
    let first = shares.next().context("a list")?;
    ensure!(
        shares.all(|share| share == first),
        "not split alike: {object}"
    );
    Ok(first)
}
