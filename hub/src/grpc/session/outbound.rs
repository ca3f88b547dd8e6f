//! What a session sends, one permitted batch at a time.

use bellwether_api::root::Root;
use bellwether_proto::{
    limits::{BLOB_CHUNK_BYTES, MAX_CHANGES},
    wire::{Blob, Snapshot, hub_message::Message},
};
use bellwether_store::Digest;
use bytes::Bytes;

use super::SessionStream;

impl SessionStream {
    /// Puts the next batch into the outbox, if there is one and the agent permits it.
    pub(super) fn send_batch(&mut self) {
        if self.credit == 0 || !self.outbox.is_empty() {
            return;
        }
        if self.sending.is_some() {
            self.credit -= 1;
            self.send_piece();
        } else if self.parts.is_some() {
            self.credit -= 1;
            self.send_part();
        }
    }

    fn send_piece(&mut self) {
        let Some(sending) = self.sending.as_mut() else {
            return;
        };
        let end = sending.content.len().min(sending.offset + BLOB_CHUNK_BYTES);
        let piece = Blob {
            digest: Bytes::copy_from_slice(sending.digest.as_bytes()),
            offset: u64::try_from(sending.offset).unwrap_or(u64::MAX),
            total_bytes: u64::try_from(sending.content.len()).unwrap_or(u64::MAX),
            data: sending.content.slice(sending.offset..end),
        };
        sending.offset = end;
        if end == sending.content.len() {
            self.sending = None;
        }
        self.push(Message::Blob(piece));
    }

    fn send_part(&mut self) {
        let Some(parts) = self.parts.as_mut() else {
            return;
        };
        let count = parts.units.len().min(MAX_CHANGES);
        let units: Vec<_> = parts.units.drain(..count).collect();
        let complete = parts.units.is_empty();
        let part = Snapshot {
            generation: parts.generation,
            part: parts.next,
            complete,
            root: parts.root.clone(),
            units,
        };
        parts.next += 1;
        self.name(
            part.units
                .iter()
                .map(|unit| (&unit.digest, &unit.inline_blob)),
        );
        if complete {
            self.sent = part.generation;
            self.sent_root = Root::from_slice(&part.root).unwrap_or_default();
            self.parts = None;
        }
        self.push(Message::Snapshot(part));
    }

    pub(super) fn name<'a>(&mut self, units: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) {
        let digests = units
            .filter(|(_, inline)| inline.is_empty())
            .filter_map(|(digest, _)| Digest::try_from(digest.as_ref()).ok());
        self.named.extend(digests);
    }
}
