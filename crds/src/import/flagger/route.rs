//! Routes that Flagger makes, as routes that a Rollout asks for.

use serde_json::{Map, Value, json};

use super::{Fields, canary::Canary, named_values, put};

pub(super) fn virtual_service(canary: &Canary<'_>, service: &Fields<'_>) -> Value {
    service.without(&["gatewayRefs"], "it belongs to the provider gatewayapi");
    let mut create = common(service);
    let delegated = service.flag("delegation");
    let gateways = service.texts("gateways");
    let mut hosts = service.texts("hosts");
    if delegated {
        create.insert("delegated".to_owned(), json!(true));
    } else if !hosts.iter().any(|host| host == canary.apex || host == "*") {
        // Flagger adds the Service's own name, by which the mesh knows it.
        hosts.push(canary.apex.to_owned());
    }
    put(&mut create, "hosts", (!hosts.is_empty()).then_some(hosts));
    put(
        &mut create,
        "gateways",
        (!gateways.is_empty()).then_some(gateways),
    );
    retries(service, &mut create);
    cors(service, &mut create);
    json!({"istio": {"virtualServices": [canary.apex]}, "create": create})
}

pub(super) fn http_route(canary: &Canary<'_>, service: &Fields<'_>) -> Value {
    service.without(
        &["gateways", "delegation"],
        "it belongs to the provider istio",
    );
    service.without(
        &["retries", "corsPolicy"],
        "an HTTPRoute of the standard channel has none",
    );
    let mut create = common(service);
    let gateways: Vec<String> = service.items("gatewayRefs").iter().map(gateway).collect();
    if gateways.is_empty() {
        service.refuse("gatewayRefs", "name the Gateways that the route belongs to");
    }
    create.insert("gateways".to_owned(), json!(gateways));
    let hosts = service.texts("hosts");
    put(&mut create, "hosts", (!hosts.is_empty()).then_some(hosts));
    json!({"gatewayApi": {"httpRoutes": [canary.apex]}, "create": create})
}

fn gateway(fields: &Fields<'_>) -> String {
    for key in ["group", "kind"] {
        fields.get(key);
    }
    fields.without(
        &["port", "sectionName"],
        "a route that is made belongs to all of a Gateway; write the route yourself",
    );
    let name = fields.text("name").unwrap_or_default();
    match fields.text("namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// What both kinds of route have.
fn common(service: &Fields<'_>) -> Map<String, Value> {
    let mut create = Map::new();
    put(&mut create, "timeout", service.text("timeout"));
    if let Some(path) = path(service) {
        create.insert("path".to_owned(), json!(path));
    }
    if let Some(headers) = service.object("headers") {
        let mut changes = Map::new();
        for side in ["request", "response"] {
            let Some(fields) = headers.object(side) else {
                continue;
            };
            let mut edits = Map::new();
            for key in ["set", "add"] {
                let values = named_values(&fields.text_map(key));
                put(&mut edits, key, (!values.is_empty()).then_some(values));
            }
            let removed = fields.texts("remove");
            put(
                &mut edits,
                "remove",
                (!removed.is_empty()).then_some(removed),
            );
            fields.done();
            changes.insert(side.to_owned(), Value::Object(edits));
        }
        headers.done();
        create.insert("headers".to_owned(), Value::Object(changes));
    }
    create
}

/// The prefix of the paths that the route takes: the one way in which a made route is narrowed.
fn path(service: &Fields<'_>) -> Option<String> {
    let matches = service.items("match");
    let narrow = "a route that is made takes one prefix of paths; write the route yourself";
    if matches.len() > 1 {
        service.refuse("match", narrow);
    }
    let first = matches.into_iter().next()?;
    let uri = first.object("uri");
    let prefix = uri.as_ref().and_then(|uri| uri.text("prefix"));
    if prefix.is_none() {
        first.refuse("uri", narrow);
    }
    if let Some(uri) = uri {
        uri.done();
    }
    first.done();
    prefix.map(str::to_owned)
}

fn retries(service: &Fields<'_>, create: &mut Map<String, Value>) {
    let Some(fields) = service.object("retries") else {
        return;
    };
    let mut retries = Map::new();
    retries.insert(
        "attempts".to_owned(),
        json!(fields.count("attempts").unwrap_or_default()),
    );
    for key in ["perTryTimeout", "retryOn"] {
        put(&mut retries, key, fields.text(key));
    }
    fields.done();
    create.insert("retries".to_owned(), Value::Object(retries));
}

fn cors(service: &Fields<'_>, create: &mut Map<String, Value>) {
    let Some(fields) = service.object("corsPolicy") else {
        return;
    };
    let mut origins = fields.texts("allowOrigin");
    for origin in fields.items("allowOrigins") {
        match origin.text("exact") {
            Some(exact) => origins.push(exact.to_owned()),
            None => origin.refuse("exact", "origins are named whole; there are no patterns"),
        }
        origin.done();
    }
    let mut cors = Map::new();
    cors.insert("allowOrigins".to_owned(), json!(origins));
    for key in ["allowMethods", "allowHeaders", "exposeHeaders"] {
        let texts = fields.texts(key);
        put(&mut cors, key, (!texts.is_empty()).then_some(texts));
    }
    put(&mut cors, "maxAge", fields.text("maxAge"));
    let credentials = fields.flag("allowCredentials");
    put(&mut cors, "allowCredentials", credentials.then_some(true));
    fields.done();
    create.insert("cors".to_owned(), Value::Object(cors));
}
