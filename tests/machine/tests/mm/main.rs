//! The memory manager on the model machine: what is promised of each operation, and that each known bug of it is
//! noticed.
//!
//! One program, since each would have all of `mm` in it; a suite is a module: `--test mm vmalloc`.
//!
//! | suite | concern |
//! | --- | --- |
//! | `invariants` | the invariants by name |
//! | `laws`, `faults`, `populate`, `changes` | one address space: what is refused, answered, changed |
//! | `spaces` | several spaces against a model, by random sequences |
//! | `cow`, `rmap`, `row_blocks`, `mid_move` | folios that several spaces map, or that are on their way |
//! | `split`, `collapse`, `contpte` | huge pages and contiguous sets |
//! | `gup` | pages that are held: with locks, without, for long |
//! | `migrate`, `compact`, `frames` | frames: moved, made whole, given out |
//! | `asids`, `flushes`, `entry_races`, `growth` | TLBs: numbers of spaces, operations, what they cost |
//! | `vmalloc` | the kernel's addresses |
//! | `audit`, `explorer` | the audit of a whole world; the explorer of schedules |

mod asids;
mod audit;
mod changes;
mod collapse;
mod common;
mod compact;
mod contpte;
mod cow;
mod entry_races;
mod explorer;
mod faults;
mod flushes;
mod frames;
mod growth;
mod gup;
mod invariants;
mod laws;
mod mid_move;
mod migrate;
mod populate;
mod rmap;
mod row_blocks;
mod spaces;
mod split;
mod vmalloc;
