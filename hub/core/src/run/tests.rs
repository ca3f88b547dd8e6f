mod actions;
mod completing;
pub mod model;
mod random;
mod waves;
