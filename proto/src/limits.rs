//! Limits that both ends of the wire keep.

use std::time::Duration;

/// The only protocol version that this build speaks.
pub const PROTOCOL: u32 = 1;

/// No message is larger, in either direction.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// A blob travels in pieces of this size.
pub const BLOB_CHUNK_BYTES: usize = 256 * 1024;

/// A compressed blob is never larger.
pub const MAX_BLOB_BYTES: usize = 64 * 1024 * 1024;

/// A compressed blob up to this size travels inside the delta.
pub const INLINE_BLOB_BYTES: usize = 16 * 1024;

/// Inline blobs of one message together.
pub const INLINE_BUDGET_BYTES: usize = 512 * 1024;

/// Changes in one delta or one part of a snapshot.
pub const MAX_CHANGES: usize = 2_000;

/// Batches (delta, part of a snapshot, piece of a blob) that the hub may send before the first
/// `Credit`.
pub const INITIAL_CREDIT: u32 = 4;

/// Unit statuses in one message.
pub const MAX_STATUS_UNITS: usize = 200;

/// JSON of one unit's status.
pub const MAX_STATUS_BYTES: usize = 512 * 1024;

/// Status bytes that are packed into one message.
pub const STATUS_BUDGET_BYTES: usize = 768 * 1024;

/// How often the agent beats.
pub const BEAT_INTERVAL: Duration = Duration::from_secs(15);

/// A side that heard nothing for this long ends the session.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(45);

/// Idle time after which an HTTP/2 ping is sent.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long the answer to a ping may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Clocks that differ by more are named in errors.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
