mod actions;
mod completing;
pub mod model;
mod random;
mod set_weight;
mod waves;
