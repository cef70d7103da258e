//! Collapses: of what there may be at an address, what becomes of it, and who notices.
//!
//! | file | concern |
//! | --- | --- |
//! | `states` | each thing that a block may consist of |
//! | `refused` | what cannot be collapsed stays as it was |
//! | `against` | somebody else at the same time |
//! | `background` | who collapses unasked |
//! | `room` | who makes room where no block is free |
//! | `bugs` | each step taken away |

mod against;
mod background;
mod bugs;
mod refused;
mod room;
mod scene;
mod states;
