//! Writes in the name of a ServiceAccount: its rights, and not the agent's, say what comes in.

use std::sync::PoisonError;

use bellwether_api::reference::{NamespacedName, ObjectRef};
use http::{HeaderValue, Request};
use kube::{Client, client::Body};
use tower::BoxError;

use super::Cluster;

/// The header by which a request is made in somebody else's name.
const IMPERSONATE_USER: &str = "impersonate-user";

/// A ServiceAccount, and a client that speaks in its name.
#[derive(Clone)]
pub(super) struct Acting {
    account: NamespacedName,
    client: Client,
}

impl Cluster {
    /// The same cluster, where objects are applied, patched and made in the name of a ServiceAccount; absent = in
    /// the agent's own. Whatever else is read, changed or deleted is the agent's own all the same.
    #[must_use]
    pub fn acting_as(&self, account: Option<&NamespacedName>) -> Self {
        let acting = account.map(|account| {
            let mut known = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            let client = known
                .entry(account.clone())
                .or_insert_with(|| in_name_of(&self.client, account));
            Acting {
                account: account.clone(),
                client: client.clone(),
            }
        });
        Self {
            acting,
            ..self.clone()
        }
    }

    /// The client that speaks in the name of whoever objects are applied as.
    pub(crate) fn acting_client(&self) -> &Client {
        self.acting
            .as_ref()
            .map_or(&self.client, |acting| &acting.client)
    }

    /// Names an object for people, and in whose name it is written.
    pub(super) fn written(&self, target: &ObjectRef) -> String {
        match &self.acting {
            Some(Acting { account, .. }) => format!("{target} as ServiceAccount {account}"),
            None => target.to_string(),
        }
    }
}

/// A client that makes every request in the name of a ServiceAccount, by the connections of `client`. The API
/// server adds the groups of such a user by itself; naming them would take a right on groups.
fn in_name_of(client: &Client, account: &NamespacedName) -> Client {
    let user = format!(
        "system:serviceaccount:{}:{}",
        account.namespace, account.name
    );
    let own = client.clone();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (own, user) = (own.clone(), HeaderValue::try_from(&user));
        async move {
            // A name that is none is never taken for nobody's, which would be the agent's.
            request.headers_mut().insert(IMPERSONATE_USER, user?);
            Ok::<_, BoxError>(own.send(request).await?)
        }
    });
    Client::new(service, client.default_namespace())
}
