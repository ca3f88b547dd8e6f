//! Reading what users write: YAML or JSON in, checked documents or every error with its position
//! out. The command line and the HTTP API both read through [`load()`].
//!
//! Scalars are read as `kubectl` reads them, so that one file means the same object for both:
//! `0644` is 420, `1e3` is 1000, and the unquoted words yes, no, on, off, y and n are booleans. The
//! one exception are keys of mappings, which always stay as they are written.

mod envelope;
mod error;
mod limits;
mod load;
mod node;
mod path;
mod scalar;
mod split;
mod suggest;
mod tree;
mod walk;

pub use envelope::{Document, Kind, Metadata, Object};
pub use error::{DocumentError, DocumentWarning, ErrorCode};
pub use limits::{
    MAX_ALIASES, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, MAX_ERRORS, MAX_EXPANDED_BYTES,
    MAX_EXPANDED_VALUES, MAX_INPUT_BYTES, MAX_VALUES,
};
pub(crate) use load::in_order;
pub use load::{Loaded, load, parse, values};
pub use node::{Position, Source};
pub use path::{FieldPath, Segment};
pub use suggest::closest;
