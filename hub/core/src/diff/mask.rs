use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::release::is_secret;

/// The annotation in which kubectl keeps a copy of a whole object.
const COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes of a digest that are shown.
const SHOWN_BYTES: usize = 6;

/// Puts digests in place of the content of every Secret, however deep it lies. With a salt that is
/// never used again they tell values of one answer apart and cannot be guessed back.
pub fn mask(value: &mut Value, salt: &[u8]) {
    if is_secret(value) {
        for field in ["data", "stringData"] {
            match value.get_mut(field) {
                None | Some(Value::Null) => {}
                Some(Value::Object(entries)) => entries
                    .iter_mut()
                    .for_each(|(key, entry)| *entry = digest(key, entry, salt)),
                Some(malformed) => *malformed = digest(field, malformed, salt),
            }
        }
        if let Some(Value::Object(notes)) = value.pointer_mut("/metadata/annotations")
            && let Some(copy) = notes.get_mut(COPY)
        {
            *copy = digest(COPY, copy, salt);
        }
        return;
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|one| mask(one, salt)),
        Value::Array(items) => items.iter_mut().for_each(|one| mask(one, salt)),
        _ => {}
    }
}

/// Puts digests in place of everything but what an object is called: secrets may stand in any text of
/// it. The salt is as for [`mask`].
pub fn mask_all(object: &mut Value, salt: &[u8]) {
    let Value::Object(fields) = object else {
        return;
    };
    for (field, value) in fields {
        match (field.as_str(), value) {
            ("apiVersion" | "kind", _) => {}
            ("metadata", Value::Object(metadata)) => metadata
                .iter_mut()
                .filter(|(field, _)| !matches!(field.as_str(), "name" | "namespace"))
                .for_each(|(field, value)| mask_leaves(field, value, salt)),
            (field, value) => mask_leaves(field, value, salt),
        }
    }
}

fn mask_leaves(key: &str, value: &mut Value, salt: &[u8]) {
    match value {
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(key, value)| mask_leaves(key, value, salt)),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|value| mask_leaves(key, value, salt)),
        Value::Null => {}
        leaf => *leaf = digest(key, leaf, salt),
    }
}

fn digest(key: &str, value: &Value, salt: &[u8]) -> Value {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(key.as_bytes());
    hash.update([0]);
    hash.update(value.to_string().as_bytes());
    let hash = hash.finalize();
    Value::from(format!("<digest {}>", hex::encode(&hash[..SHOWN_BYTES])))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn masked(mut value: Value, salt: &[u8]) -> Value {
        mask(&mut value, salt);
        value
    }

    #[test]
    fn where_secrets_may_be_anywhere_names_alone_are_left() {
        let object = |host: &str| {
            let mut object = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "hunter2"}},
                "data": {"url": format!("https://hunter2@{host}")},
                "list": [{"deep": ["hunter2"]}], "size": 2}
            );
            mask_all(&mut object, b"salt");
            object
        };
        let one = object("a");
        assert!(!one.to_string().contains("hunter2"), "{one}");
        assert_eq!(one.pointer("/metadata/name"), Some(&json!("web")));
        assert_eq!(one.pointer("/metadata/namespace"), Some(&json!("shop")));
        assert_eq!(one["kind"], "ConfigMap");
        assert_ne!(one["data"], object("b")["data"]);
        assert_eq!(one["list"], object("b")["list"]);
    }

    fn secret(password: &str) -> Value {
        json!({"kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "annotations": {
                COPY: format!("{{{password}}}"), "team": "a"}},
             "data": {"password": password}, "stringData": {"user": password}},
            {"apiVersion": "v1", "kind": "Secret", "data": password},
            {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "kept"}},
        ]})
    }

    #[test]
    fn no_content_of_a_secret_is_left_and_a_change_shows() {
        let one = masked(secret("hunter2"), b"salt");
        let text = one.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("kept") && text.contains("\"team\":\"a\""));
        assert_eq!(one, masked(secret("hunter2"), b"salt"));
        let other = masked(secret("hunter3"), b"salt");
        for pointer in [
            "/items/0/data/password",
            "/items/0/stringData/user",
            "/items/1/data",
        ] {
            assert_ne!(one.pointer(pointer), other.pointer(pointer), "{pointer}");
        }
        assert_ne!(one, masked(secret("hunter2"), b"another"));
    }
}
