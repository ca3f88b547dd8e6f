mod actions;
mod model;
mod random;
mod waves;
