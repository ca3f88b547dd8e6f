//! The API's description: paths from the handlers, schemas from the types that both sides use.

use bellwether_api::{
    call::{
        ActionRequest, ActionView, ApiTokenList, ApiTokenRequest, ApiTokenView, ApplicationStatus,
        ApplyResult, ComplianceList, CordonRequest, DrainView, EventList, FleetStatus, Item,
        ItemList, JoinMaterial, JoinTokenRequest, LabelRequest, MeasurementList,
        OverridesExplained, PlacementView, PlanView, Problem, ReleaseDiff, RevokeRequest, RunList,
        SecretList, SecretRequest, SecretView, UnitList, VersionInfo, Why,
    },
    cluster::ClusterStatus,
    view::RunView,
};
use serde_json::{Value, json};

/// Returns the OpenAPI 3.1 document of the whole API.
#[must_use]
pub fn document() -> Value {
    let (_, paths) = super::routes::api().split_for_parts();
    // A description made of strings and maps always has a JSON form.
    let mut document = serde_json::to_value(&paths).unwrap_or_default();
    document["info"] = json!({
        "title": "Bellwether",
        "description": "The API of a Bellwether hub: fleets of Kubernetes clusters, applications, \
                        and how releases roll out.",
        "version": env!("CARGO_PKG_VERSION"),
        "license": {"name": "Apache-2.0"},
    });
    document["components"] = json!({
        "schemas": schemas(),
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    });
    document["security"] = json!([{"token": []}]);
    document
}

macro_rules! schemas_of {
    ($generator:ident, $($type:ty),+ $(,)?) => {
        $( $generator.subschema_for::<$type>(); )+
    };
}

fn schemas() -> Value {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    schemas_of!(
        generator,
        ActionRequest,
        ActionView,
        ApiTokenList,
        ApiTokenRequest,
        ApiTokenView,
        ApplicationStatus,
        ApplyResult,
        ClusterStatus,
        ComplianceList,
        CordonRequest,
        DrainView,
        EventList,
        FleetStatus,
        Item,
        ItemList,
        JoinMaterial,
        JoinTokenRequest,
        LabelRequest,
        MeasurementList,
        OverridesExplained,
        PlacementView,
        PlanView,
        Problem,
        ReleaseDiff,
        RevokeRequest,
        RunList,
        RunView,
        SecretList,
        SecretRequest,
        SecretView,
        UnitList,
        VersionInfo,
        Why,
    );
    Value::Object(generator.take_definitions(true))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::document;

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    found.insert(target);
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for target in found {
            let pointer = target.trim_start_matches('#');
            assert!(
                document.pointer(pointer).is_some(),
                "{target} leads nowhere"
            );
        }
    }

    #[test]
    fn document_is_openapi_3_1_with_every_path() {
        let document = document();
        assert!(
            document["openapi"]
                .as_str()
                .is_some_and(|version| version.starts_with("3.1"))
        );
        for path in [
            "/api/v1/apply",
            "/api/v1/clusters/{name}/revoke",
            "/api/v1/rollouts/{namespace}/{name}/actions",
            "/api/v1/namespaces/{namespace}/applications/{name}",
            "/api/v1/watch",
        ] {
            assert!(document["paths"][path].is_object(), "{path}");
        }
    }
}
