//! Objects of the user that say something of the apex alone, and must be said of the canary too.

use super::Traffic;

/// An object of the user of which a run makes the like for the canary's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedObject {
    /// Where it is named in `traffic[]`, such as `istio.destinationRule`.
    pub field: &'static str,
    /// Groups and versions in which it may be written, the usual one first.
    pub api_versions: &'static [&'static str],
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

const DESTINATION_RULES: &[&str] = &[
    "networking.istio.io/v1",
    "networking.istio.io/v1beta1",
    "networking.istio.io/v1alpha3",
];

impl Traffic {
    /// Returns the user's object that is copied for the canary's Service, of which `apex` is the
    /// user's own; absent = the provider needs none, or none is named.
    #[must_use]
    pub fn copied(&self, apex: &str) -> Option<CopiedObject> {
        let copied = |field, api_versions, kind, name: String| CopiedObject {
            field,
            api_versions,
            kind,
            name,
        };
        if let Some(istio) = &self.istio {
            let name = istio.destination_rule.clone()?;
            let field = "istio.destinationRule";
            return Some(copied(field, DESTINATION_RULES, "DestinationRule", name));
        }
        if let Some(gloo) = &self.gloo {
            let name = gloo.upstream.clone()?;
            let field = "gloo.upstream";
            return Some(copied(field, &["gloo.solo.io/v1"], "Upstream", name));
        }
        let mesh = self.app_mesh.as_ref()?;
        let name = mesh.virtual_node.clone().unwrap_or(apex.to_owned());
        let versions = &["appmesh.k8s.aws/v1beta2"];
        Some(copied("appMesh.virtualNode", versions, "VirtualNode", name))
    }
}
