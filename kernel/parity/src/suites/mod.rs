//! The tables: one file for each of Linux's tests. `docs/parity.md` says which of its cases are here, and why
//! the others are not.

mod cow;
mod gup;
mod khugepaged;
mod merge;
mod migration;
mod mremap;
mod pgtable;
mod rmap;
mod split;

use crate::form::Form;
use crate::step::{Step, Who};
use crate::suite::{Rows, Scene, Suite};
use abi::Order;

/// Every suite.
pub(crate) static ALL: [Suite; 15] = [
    gup::SUITE,
    cow::SUITE,
    cow::ZEROS,
    cow::COLLAPSED,
    split::SUITE,
    split::PIECES,
    khugepaged::SUITE,
    khugepaged::FORMS,
    khugepaged::BACKGROUND,
    rmap::SUITE,
    migration::SUITE,
    mremap::SUITE,
    mremap::FORMS,
    merge::SUITE,
    pgtable::SUITE,
];

/// The parent, its child, and that one's child.
const P: Who = Who::Parent;
const C: Who = Who::Child;
const G: Who = Who::Grandchild;

/// A row.
const fn case(name: &'static str, steps: &'static [Step]) -> Scene {
    Scene { name, steps }
}

/// A folio of a huge page's size, and the smaller ones that it can be split into.
const PMD: Order = Order::PMD;
const fn order(order: u8) -> Order {
    Order(order)
}

/// How many cases a suite has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// The suite's name.
    pub suite: &'static str,
    /// What Linux calls its test.
    pub upstream: &'static str,
    /// Its cases.
    pub cases: usize,
}

/// What there is, suite by suite.
pub fn counts() -> impl Iterator<Item = Count> {
    ALL.iter().map(|suite| {
        let Suite { name, upstream, .. } = *suite;
        Count { suite: name, upstream, cases: suite.count() }
    })
}
