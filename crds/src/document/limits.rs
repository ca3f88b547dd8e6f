//! What an input may cost. Every limit is named in the error that it causes.

/// Bytes of one input.
pub const MAX_INPUT_BYTES: usize = 4 << 20;
/// Bytes of one document.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;
/// Documents of one input.
pub const MAX_DOCUMENTS: usize = 2_000;
/// Objects and lists inside each other.
pub const MAX_DEPTH: usize = 64;
/// Values of one document, as written.
pub const MAX_VALUES: usize = 200_000;
/// Aliases of one document.
pub const MAX_ALIASES: usize = 1_000;
/// Values that the aliases of one document may add.
pub const MAX_EXPANDED_VALUES: usize = 10_000;
/// Bytes of text that the aliases of one document may add.
pub const MAX_EXPANDED_BYTES: usize = 1 << 20;
/// Errors that one input reports; the last one says that there are more.
pub const MAX_ERRORS: usize = 100;
