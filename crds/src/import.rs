//! Records of other systems, read as records of ours.

pub mod flagger;
