//! Changes of an address space on the simulated machine: rights, places, advice, forks, and what areas
//! are joined or cut. What a program may see afterwards, what it may not see meanwhile, what is flushed,
//! what a refusal leaves behind, and that each known bug of a change is noticed.

mod advise;
mod areas;
mod fork;
mod frames;
mod kernel;
mod lazy;
mod moves;
mod protect;
mod remap;
mod scene;
mod starved;
