//! How what a unit remembers of its objects is written down where they are many; pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bellwether_api::{
    reference::ObjectRef,
    sync_record::{HeldObject, SyncRecordSpec, SyncUnit},
};
use std::io::Read as _;

/// A unit with more objects than this has them packed: each takes a tenth then.
const PACKED_ABOVE_OBJECTS: usize = 1_000;
/// Bytes that packed objects unpack to at most.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;
/// Bytes of one record beyond which no more objects are taken on: an API server takes 1.5 MiB of one
/// object, and events and reasons need room too.
pub(super) const MAX_RECORD_BYTES: usize = 1_200_000;

/// Why packed objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// They are no base64.
    #[error("failed to read base64")]
    Base64(#[from] base64::DecodeError),
    /// They do not unpack.
    #[error("failed to unpack")]
    Unpack(#[from] std::io::Error),
    /// They are no objects.
    #[error("failed to read objects")]
    Objects(#[from] serde_json::Error),
}

/// Tells whether a unit has so many objects that they are packed.
pub(super) const fn has_many(unit: &SyncUnit) -> bool {
    unit.objects.len() > PACKED_ABOVE_OBJECTS
}

/// The unit as it is written to the cluster.
pub(super) fn packed(unit: &SyncUnit) -> SyncUnit {
    if !has_many(unit) {
        return unit.clone();
    }
    let objects = serde_json::to_vec(&unit.objects).expect("types of the API always serialise");
    let zstd = zstd::stream::encode_all(objects.as_slice(), 3).expect("memory is written to");
    SyncUnit {
        packed_objects: Some(STANDARD.encode(zstd)),
        objects: Vec::new(),
        ..unit.clone()
    }
}

/// Puts packed objects in their place.
///
/// # Errors
/// They cannot be read.
pub(super) fn unpack(unit: &mut SyncUnit) -> Result<(), PackedError> {
    let Some(text) = unit.packed_objects.take() else {
        return Ok(());
    };
    let zstd = STANDARD.decode(text)?;
    let mut objects = Vec::new();
    zstd::stream::Decoder::new(zstd.as_slice())?
        .take(MAX_UNPACKED_BYTES)
        .read_to_end(&mut objects)?;
    let objects: Vec<HeldObject> = serde_json::from_slice(&objects)?;
    unit.objects.extend(objects);
    Ok(())
}

/// The unit once `objects`, each with its component, are applied.
pub(super) fn with_objects<'a>(
    unit: &SyncUnit,
    objects: impl Iterator<Item = (&'a ObjectRef, &'a String)>,
) -> SyncUnit {
    let known: std::collections::BTreeSet<ObjectRef> =
        unit.objects.iter().map(HeldObject::object).collect();
    let new = objects.filter(|(object, _)| !known.contains(*object));
    let mut after = unit.clone();
    after
        .objects
        .extend(new.map(|(object, component)| HeldObject {
            uid: Some(like_uid(object)),
            component: Some(component.clone()),
            ..HeldObject::from(object.clone())
        }));
    after.objects.sort_unstable();
    after
}

/// A text that packs as badly as a uid does.
fn like_uid(object: &ObjectRef) -> String {
    let digest = hex::encode(super::digest_of(object.to_string().as_bytes()));
    let parts = [
        &digest[..8],
        &digest[8..12],
        &digest[12..16],
        &digest[16..20],
        &digest[20..32],
    ];
    parts.join("-")
}

/// Bytes of a record with these units.
pub(super) fn record_bytes(units: Vec<SyncUnit>) -> usize {
    let spec = SyncRecordSpec {
        units,
        ..SyncRecordSpec::default()
    };
    serde_json::to_vec(&spec)
        .expect("types of the API always serialise")
        .len()
}
