//! The kernel's addresses: areas, blocks, device memory, rights.

mod areas;
mod blocks;
mod counts;
mod half;
mod ioremap;
mod page_range;
mod pairs;
mod permission;
mod sync;
