//! Objects in namespaces that are gone, and the rights on them with them.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use super::{Cluster, ClusterError, within};

impl Cluster {
    /// Tells whether the API server refused to speak of objects in a namespace because that is gone: the
    /// agent's role in it went along, and nothing can be there any more. `false` also while nobody
    /// knows.
    pub(super) async fn lies_nowhere(&self, error: &ClusterError, namespace: Option<&str>) -> bool {
        let Some(namespace) = namespace.filter(|_| error.code() == Some(403)) else {
            return false;
        };
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = within("get", namespace, namespaces.get_opt(namespace)).await;
        matches!(found, Ok(None))
    }
}
