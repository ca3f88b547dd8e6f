//! What a run writes back in workloads that are applied in the name of a ServiceAccount.

use std::sync::Arc;

use bellwether_api::reference::{NamespacedName, ObjectRef};

use super::*;

#[tokio::test(start_paused = true)]
async fn what_somebody_added_to_a_template_is_taken_away_in_the_name_of_the_account() {
    let mut house = House::new("http://127.0.0.1:9", LATER).await;
    for bundle in house.unit.bundles.values_mut() {
        for component in &mut Arc::make_mut(bundle).components {
            component.service_account = Some(NamespacedName {
                namespace: "shop".to_owned(),
                name: "deployer".to_owned(),
            });
        }
    }
    house.pass().await;
    house.server.take_merged();

    let mut web = house.server.get("deployments", "web-3");
    web["spec"]["template"]["metadata"]["annotations"] = json!({"restarted": "now"});
    let now = house.unit.shell.clock.now().to_string();
    web["metadata"]["managedFields"] = json!([{"manager": "kubectl", "operation": "Update",
        "time": now, "fieldsV1": {"f:spec": {"f:template": {}}}}]);
    house.server.put("deployments", web);
    let target = ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name(3),
    };
    let change = Change {
        version: Some("1000".to_owned()),
        of: None,
    };
    house.unit.poke.touch(target, Some(change));
    house.pass().await;
    let user = "system:serviceaccount:shop:deployer".to_owned();
    let merged = ("deployments/web-3".to_owned(), Some(user));
    assert_eq!(house.server.take_merged(), [merged]);
    let web = house.server.get("deployments", "web-3");
    let annotations = web.pointer("/spec/template/metadata/annotations");
    assert_eq!(annotations, None);
}
