//! Everything that the hub keeps in Postgres. SQL lives here and nowhere else.
//!
//! One module an entity: functions take a [`Store`] (reads and whole operations) or a [`Tx`]
//! (steps of the caller's transaction) and give domain types back. Time comes in as an argument.
//! The private Postgres of a hub without `DATABASE_URL` is supervised by [`postgres`].

pub mod actions;
pub mod alerts;
pub mod allowances;
pub mod api_tokens;
pub mod blobs;
pub mod certificates;
pub mod changes;
pub mod clock;
pub mod clusters;
pub mod conformance;
pub mod desired;
pub mod events;
pub mod fleet_hooks;
pub mod hints;
pub mod join_tokens;
pub mod leases;
pub mod meta;
pub mod ownership;
pub mod pins;
pub mod planning;
pub mod postgres;
pub mod pushes;
pub mod records;
pub mod releases;
pub mod renderings;
pub mod repositories;
pub mod runs;
pub mod secrets;
pub mod sessions;
pub mod standing;
pub mod status;
pub mod tailer;
pub mod testing;

mod cipher;
mod column;
mod digest;
mod error;
mod store;

pub use cipher::{BlobCipher, CipherError};
pub use digest::{Digest, ParseDigestError};
pub use error::StoreError;
pub use store::{Store, StoreOptions, Tx};
