//! Pages of programs that somebody holds: by counts, by pins, for long; looked up with locks and without.

mod longterm;
mod many;
mod matrix;
mod pins;
mod races;
mod walk;
