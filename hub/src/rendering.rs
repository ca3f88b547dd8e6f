//! Sources and what is made of them: fetches what components are made of, and renders it for the
//! clusters that get it.
//!
//! The loops ask ([`Renderings::ask`]) and never wait: what is asked for is done beside them, by few
//! at a time from a bounded queue, and lies in Postgres when it is done. The objects are made by a
//! program of its own, a process per rendering ([`Renderer`]).

mod artifact;
mod child;
mod error;
mod fetch;
mod isolation;
mod plugins;
mod queue;
mod wire;
mod work;

pub use child::{Limits, Renderer};
pub use error::{FetchError, RenderError};
pub use fetch::{Fetch, Fetched, git_source, is_content, source_of};
pub use plugins::{PluginError, PluginPin, Plugins, RegisterError};
pub use queue::{Job, Renderings};
