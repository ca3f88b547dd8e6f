//! Text for people. Pure: what is known, the width and the time go in, text comes out; the same
//! functions draw once and while watching.

pub mod changes;
pub mod diff;
pub mod events;
pub mod explain;
pub mod list;
pub mod rollback;
pub mod run;
pub mod span;
pub mod style;
pub mod tree;
pub mod why;

pub use style::Style;
