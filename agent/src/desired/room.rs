//! Whether what is to be remembered of objects fits where it is kept, before any of them is applied.

use std::collections::BTreeMap;

use bellwether_api::{reference::ObjectRef, sync_record::SyncUnit};

use super::{
    Desired, StoreError,
    packed::{MAX_RECORD_BYTES, has_many, packed, record_bytes, with_objects},
    shard::record_name_of,
};

impl Desired {
    /// Says why a unit cannot take on `objects`, each with its component; absent = it can. Units share
    /// records, and a record that an API server does not take any more would stop all that share it.
    ///
    /// # Errors
    /// The cluster does not say how it keeps records.
    pub async fn no_room_for(
        &self,
        key: &str,
        objects: &BTreeMap<ObjectRef, String>,
    ) -> Result<Option<String>, StoreError> {
        let (units, before) = {
            let records = self.read();
            (records.units_beside(key), records.unit(key).cloned())
        };
        let Some(before) = before else {
            return Ok(None);
        };
        let after = with_objects(&before, objects.iter());
        let packs = units.iter().chain([&after]).any(has_many) && self.inner.shards.packs().await?;
        Ok(shortage(&units, &before, &after, packs))
    }
}

/// Says why a record that holds `beside` has no room for what a unit becomes; absent = it has.
fn shortage(
    beside: &[SyncUnit],
    before: &SyncUnit,
    after: &SyncUnit,
    packs: bool,
) -> Option<String> {
    let written = |unit: &SyncUnit| if packs { packed(unit) } else { unit.clone() };
    let bytes_with = |unit: &SyncUnit| {
        let units = beside.iter().map(written).chain([written(unit)]);
        record_bytes(units.collect())
    };
    let bytes = bytes_with(after);
    // What does not grow is no worse than what is there.
    if bytes <= MAX_RECORD_BYTES || bytes <= bytes_with(before) {
        return None;
    }
    Some(format!(
        "what the agent has to remember of {} objects, and of {} units that share {}, is {bytes} bytes, \
         and at most {MAX_RECORD_BYTES} fit; divide the application into two{}",
        after.objects.len(),
        beside.len(),
        record_name_of(&after.key),
        if packs {
            ""
        } else {
            ", and install the definitions of this version of the agent"
        }
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
