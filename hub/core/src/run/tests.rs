mod actions;
mod by_place;
mod completing;
mod gates;
pub mod model;
mod random;
mod removed;
mod set_weight;
mod waves;
