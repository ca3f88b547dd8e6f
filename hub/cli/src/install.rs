//! `install crds`: the kinds of records in the cluster that hosts the hub, with the user's own rights.

use bellwether_api::{
    GROUP,
    custom_resource::{KINDS, WEBHOOK_CONFIGURATION},
    installation::{HUB_ROLE as ROLE, NAME_LABEL, PART_OF, PART_OF_LABEL},
    schema::mirrored_definitions,
    sync_policy::PROTECT,
};
use serde_json::{Value, json};

use crate::{
    args::CrdsArgs,
    failure::Code,
    output::{print, yaml},
    register::{install::install, member},
};

/// Installs the kinds, and what the hub needs to mirror them.
///
/// # Errors
/// What the cluster refused.
pub async fn crds(args: &CrdsArgs) -> anyhow::Result<Code> {
    let account = args.service_account.as_ref();
    let objects = objects(account.map(|(namespace, name)| (namespace.as_str(), name.as_str())));
    if args.print {
        for object in objects {
            print(&format!("---\n{}", yaml(&object)?))?;
        }
        return Ok(Code::Done);
    }
    let kube = member::connect(args.context.as_deref(), args.kubeconfig.as_deref()).await?;
    install(&kube, &objects).await?;
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.plural()).collect();
    print(&format!(
        "✔ kinds       {} of {GROUP} are served\n",
        names.join(", ")
    ))?;
    if let Some((namespace, name)) = account {
        print(&format!(
            "✔ rights      serviceaccount {namespace}/{name} may mirror them\n"
        ))?;
    }
    print("  next  bellwether-hub --custom-resources (docs/gitops.md)\n")?;
    Ok(Code::Done)
}

/// Makes every object, in the order in which they are applied.
fn objects(account: Option<(&str, &str)>) -> Vec<Value> {
    let mut objects = mirrored_definitions();
    // Whom the API server asks, and with which certificate, is the hub's to say.
    objects.push(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": WEBHOOK_CONFIGURATION, "labels": labels()},
    }));
    if let Some((namespace, name)) = account {
        objects.push(hubs_namespace(namespace));
        objects.push(role());
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ROLE, "labels": labels()},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE,
            },
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
        }));
    }
    objects
}

/// The hub's namespace, marked so that no application takes it over, and that it goes with none.
fn hubs_namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {PART_OF_LABEL: PART_OF},
            "annotations": {PROTECT: "true"},
        },
    })
}

fn role() -> Value {
    let of_kinds = |suffix: &str| -> Vec<String> {
        KINDS
            .iter()
            .map(|kind| format!("{}{suffix}", kind.plural()))
            .collect()
    };
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE, "labels": labels()},
        "rules": [
            {
                "apiGroups": [GROUP], "resources": of_kinds(""),
                "verbs": ["list", "watch", "patch"],
            },
            {"apiGroups": [GROUP], "resources": of_kinds("/status"), "verbs": ["update"]},
            {
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["validatingwebhookconfigurations"],
                "resourceNames": [WEBHOOK_CONFIGURATION], "verbs": ["get", "update"],
            },
        ],
    })
}

fn labels() -> Value {
    json!({NAME_LABEL: PART_OF})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_gets_no_more_than_mirroring_takes() {
        let kinds: Vec<String> = objects(None)
            .iter()
            .map(|one| one["kind"].to_string())
            .collect();
        assert_eq!(kinds.len(), KINDS.len() + 1, "{kinds:?}");
        let all = objects(Some(("bellwether", "hub")));
        let (definitions, rest) = all.split_at(KINDS.len());
        assert!(
            definitions
                .iter()
                .all(|one| one["kind"] == "CustomResourceDefinition")
        );
        let [configuration, namespace, role, binding] = rest else {
            panic!("{rest:?}");
        };
        assert_eq!(namespace["metadata"]["name"], "bellwether");
        assert!(all.iter().all(bellwether_api::installation::is_own));
        let role = &role["rules"];
        let text = role.to_string();
        for wide in [
            "\"*\"",
            "create",
            "delete",
            "clusters\"",
            "rollouttracks",
            "secrets",
        ] {
            assert!(!text.contains(wide), "{wide} in {text}");
        }
        assert_eq!(role[2]["resourceNames"], json!([WEBHOOK_CONFIGURATION]));
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "namespace": "bellwether", "name": "hub"}])
        );
        // What the hub writes there is left alone by another installation.
        assert_eq!(configuration["kind"], "ValidatingWebhookConfiguration");
        assert!(configuration.get("webhooks").is_none());
    }
}
