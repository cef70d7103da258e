//! The model machine by itself: what it judges wrong, what it lets pass, and that a schedule can be had again.

mod common;
mod devices;
mod flushes;
mod history;
mod kernel;
mod runs;
mod stores;
mod turns;
