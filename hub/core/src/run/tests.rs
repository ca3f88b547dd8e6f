mod actions;
pub mod model;
mod random;
mod waves;
