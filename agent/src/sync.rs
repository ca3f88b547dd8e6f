//! Keeps the objects of every application as its release has them.
//!
//! One task an application: it works out its [`goal`], works towards it, reports, and sleeps until
//! desired state, a watch or a clock wakes it.

pub mod access;
pub mod admit;
pub mod cluster;
pub mod events;
pub mod foreign;
pub mod goal;
pub mod keep;
pub mod lanes;
pub mod parting;
pub mod shell;
pub mod supervisor;
pub mod unit;
pub mod watch;

pub use shell::Shell;
pub use supervisor::run;
