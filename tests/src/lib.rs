//! Suites that belong to no single room: the house rules here, and the models and machines beside.
//!
//! | file | concern |
//! | --- | --- |
//! | `house` | the rooms, their order, and what each may hold |
//! | `source` | Rust source without its comments and strings |

pub mod house;
pub mod source;
