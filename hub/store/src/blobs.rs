//! Content by its digest: bundles, commands, rendered releases. Immutable, shared by all clusters.

use jiff::Timestamp;
use sqlx::PgExecutor;

use crate::{
    BlobCipher, Digest, Store, StoreError, Tx,
    column::{ms, unsigned},
    error::Doing,
};

/// Bytes that a content may unpack to; whatever claims more was tampered with.
pub const MAX_CONTENT_BYTES: u64 = 256 << 20;

/// How hard content is packed: little, since it is written on the way to a grant.
const ZSTD_LEVEL: i32 = 3;

/// A content as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedBlob {
    /// Digest of the content, unpacked.
    pub digest: Digest,
    /// Bytes of the content, unpacked.
    pub size_bytes: u64,
    /// The content, packed by zstd, in the clear.
    pub zstd: Vec<u8>,
}

/// Whether a content holds a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// It does not.
    Plain,
    /// It does: it is sealed at rest.
    Secret,
}

/// Stores a content, once however often it is given. Content that was stored in the clear is
/// sealed when it is given again as a Secret.
///
/// # Errors
/// The database or the cipher fails.
pub async fn put(
    tx: &mut Tx,
    content: &[u8],
    secrecy: Secrecy,
    now: Timestamp,
) -> Result<Digest, StoreError> {
    let digest = Digest::of(content);
    let packed = pack(content)?;
    let bytes = match secrecy {
        Secrecy::Plain => packed,
        Secrecy::Secret => seal(&tx.cipher, "blob.bytes", &digest.0, packed)?,
    };
    sqlx::query(
        "INSERT INTO blob (digest, size, bytes, encrypted, created_at_ms)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes, encrypted = true
         WHERE excluded.encrypted AND NOT blob.encrypted",
    )
    .bind(digest.0.as_slice())
    .bind(i64::try_from(content.len()).unwrap_or(i64::MAX))
    .bind(bytes)
    .bind(secrecy == Secrecy::Secret)
    .bind(ms(now))
    .execute(&mut *tx.inner)
    .await
    .doing("write a blob")?;
    Ok(digest)
}

/// The content of a digest, unpacked; absent when nothing has it.
///
/// # Errors
/// The database fails, or the content cannot be opened or is not what its digest says.
pub async fn get(store: &Store, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
    let mut found = get_many(store, &[digest]).await?;
    Ok(found.pop().map(|(_, content)| content))
}

/// The contents of several digests, sorted by digest; those that nothing has are left out.
///
/// # Errors
/// The database fails, or a content cannot be opened.
pub async fn get_many(
    store: &Store,
    digests: &[Digest],
) -> Result<Vec<(Digest, Vec<u8>)>, StoreError> {
    let packed = get_packed_many(store, digests).await?;
    let unpacked = packed.into_iter().map(|packed| {
        let content = unpack(&packed.zstd)?;
        if Digest::of(&content) != packed.digest {
            return Err(StoreError::Corrupt {
                what: "blob.bytes",
                detail: format!("the content is not that of digest {}", packed.digest),
            });
        }
        Ok((packed.digest, content))
    });
    unpacked.collect()
}

/// The content of a digest as it travels; absent when nothing has it.
///
/// # Errors
/// The database fails, or the content cannot be opened.
pub async fn get_packed(store: &Store, digest: Digest) -> Result<Option<PackedBlob>, StoreError> {
    let mut found = get_packed_many(store, &[digest]).await?;
    Ok(found.pop())
}

/// The contents of several digests as they travel, sorted by digest; those that nothing has are
/// left out.
///
/// # Errors
/// The database fails, or a content cannot be opened.
pub async fn get_packed_many(
    store: &Store,
    digests: &[Digest],
) -> Result<Vec<PackedBlob>, StoreError> {
    load_packed(&store.pool, &store.cipher, digests).await
}

/// Deletes the contents that nothing names any more and that are older than `before`. At most
/// `limit`; gives their number.
///
/// # Errors
/// The database fails.
pub async fn sweep(store: &Store, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM blob WHERE digest IN (
            SELECT digest FROM blob b WHERE b.created_at_ms < $1
              AND NOT EXISTS (SELECT FROM desired d WHERE d.digest = b.digest)
              AND NOT EXISTS (SELECT FROM release r WHERE r.content = b.digest)
              AND NOT EXISTS (SELECT FROM release r WHERE r.instead_of = b.digest)
              AND NOT EXISTS (SELECT FROM artifact a WHERE a.content = b.digest)
              AND NOT EXISTS (SELECT FROM rendering g WHERE g.content = b.digest)
            ORDER BY digest LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(ms(before))
    .bind(i64::from(limit))
    .execute(&store.pool)
    .await
    .doing("delete blobs that nothing names")?;
    Ok(deleted.rows_affected())
}

#[derive(sqlx::FromRow)]
struct BlobRow {
    digest: Vec<u8>,
    size: i64,
    bytes: Vec<u8>,
    encrypted: bool,
}

async fn load_packed(
    executor: impl PgExecutor<'_>,
    cipher: &BlobCipher,
    digests: &[Digest],
) -> Result<Vec<PackedBlob>, StoreError> {
    let keys: Vec<&[u8]> = digests.iter().map(|digest| digest.0.as_slice()).collect();
    let rows: Vec<BlobRow> = sqlx::query_as(
        "SELECT digest, size, bytes, encrypted FROM blob WHERE digest = ANY($1) ORDER BY digest",
    )
    .bind(keys)
    .fetch_all(executor)
    .await
    .doing("read blobs")?;
    rows.into_iter()
        .map(|row| {
            let digest = crate::column::digest("blob.digest", &row.digest)?;
            let zstd = if row.encrypted {
                open(cipher, "blob.bytes", &digest.0, &row.bytes)?
            } else {
                row.bytes
            };
            Ok(PackedBlob {
                digest,
                size_bytes: unsigned("blob.size", row.size)?,
                zstd,
            })
        })
        .collect()
}

/// The bytes of a content as it would travel.
///
/// # Errors
/// It cannot be packed.
pub fn packed_bytes(content: &[u8]) -> Result<usize, StoreError> {
    Ok(pack(content)?.len())
}

/// Packs a content as blobs are packed.
pub(crate) fn pack(content: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::compress(content, ZSTD_LEVEL).map_err(|_| StoreError::Unstorable {
        what: "blob.bytes",
        detail: "it cannot be packed",
    })
}

/// Unpacks what [`pack`] packed, up to [`MAX_CONTENT_BYTES`].
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<u8>, StoreError> {
    use std::io::Read as _;
    let corrupt = |error: std::io::Error| StoreError::Corrupt {
        what: "blob.bytes",
        detail: error.to_string(),
    };
    let decoder = zstd::stream::read::Decoder::new(packed).map_err(corrupt)?;
    let mut content = Vec::new();
    decoder
        .take(MAX_CONTENT_BYTES)
        .read_to_end(&mut content)
        .map_err(corrupt)?;
    Ok(content)
}

pub(crate) fn seal(
    cipher: &BlobCipher,
    what: &'static str,
    label: &[u8],
    content: Vec<u8>,
) -> Result<Vec<u8>, StoreError> {
    cipher
        .seal(label, content)
        .map_err(|source| StoreError::Cipher { what, source })
}

pub(crate) fn open(
    cipher: &BlobCipher,
    what: &'static str,
    label: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, StoreError> {
    cipher
        .open(label, sealed)
        .map_err(|source| StoreError::Cipher { what, source })
}
