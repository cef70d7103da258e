//! What the helpers for entries promise each other: there and back is where one began, and what is changed
//! leaves the rest.

use super::{Rows, Suite};
use crate::law::{Law, again};
use abi::{Access, Level, Pfn, Prot};
use pte::{Entry, Leaf, MigrationKind, Soft};

pub(super) const SUITE: Suite =
    Suite { name: "pgtable", upstream: "debug_vm_pgtable", rows: Rows::Laws(&LAWS) };

const fn law(name: &'static str, holds: fn(Leaf) -> bool) -> Law {
    Law { name, holds }
}

#[rustfmt::skip]
const LAWS: [Law; 24] = [
    law("a word says what it was made of", |leaf| again(leaf).mapping() == Some(leaf)),
    law("nothing is nothing", |leaf| pte::decode(leaf.level(), 0) == Entry::None),
    law("old and young again", |leaf| leaf.made_old().made_young() == leaf.made_young()),
    law("young or old", |leaf| leaf.made_young().is_young() && !leaf.made_old().is_young()),
    law("clean and dirty again", |leaf| leaf.made_dirty().made_clean().made_dirty() == leaf.made_dirty()),
    law("dirty or clean", |leaf| leaf.made_dirty().is_dirty() && !leaf.made_clean().is_dirty()),
    law("writable or not", |leaf| leaf.made_writable().is_writable() && !leaf.write_protected().is_writable()),
    law("writable again", |leaf| leaf.made_writable().write_protected().made_writable() == leaf.made_writable()),
    law("dirt outlasts the right to write", |leaf| leaf.made_writable().made_dirty().write_protected().is_dirty()),
    law("no right to write makes dirt", |leaf| leaf.write_protected().made_writable().is_dirty() == leaf.is_dirty()),
    law("age and dirt are apart", |leaf| leaf.made_old().is_dirty() == leaf.is_dirty() && leaf.made_dirty().is_young() == leaf.is_young()),
    law("other rights, same history", |leaf| leaf.with_prot(Prot::Read).is_dirty() == leaf.is_dirty() && leaf.with_prot(Prot::Read).is_young() == leaf.is_young()),
    law("other rights, same frame", |leaf| leaf.with_prot(Prot::ReadExec).pfn() == leaf.pfn() && leaf.with_prot(Prot::None).pfn() == leaf.pfn()),
    law("no rights, and not usable", |leaf| !leaf.with_prot(Prot::None).is_valid() && !leaf.with_prot(Prot::None).permits(Access::Read)),
    law("no rights are still a mapping", |leaf| again(leaf.with_prot(Prot::None)).mapping().is_some()),
    law("rights come back", |leaf| leaf.with_prot(Prot::None).with_prot(leaf.prot()) == leaf || leaf.prot() == Prot::Read || leaf.prot() == Prot::ReadWrite),
    law("not usable and usable again", |leaf| leaf.prot() == Prot::None || leaf.invalidated().revalidated() == leaf),
    law("not usable is still a mapping", |leaf| again(leaf.invalidated()).leaf() == Some(leaf.invalidated())),
    law("not usable keeps its history", |leaf| leaf.invalidated().is_dirty() == leaf.is_dirty() && leaf.invalidated().is_young() == leaf.is_young()),
    law("special is special", |leaf| leaf.special().is_special() && !leaf.is_special()),
    law("no mapping is a table", |leaf| !matches!(again(leaf), Entry::Table(_))),
    law("a table is no mapping", |leaf| matches!(pte::decode(Level::Pgd, pte::Table::new(leaf.pfn()).word()), Entry::Table(table) if table.pfn() == leaf.pfn())),
    law("in migration, and back", |leaf| leaf.level() == Level::Pud || comes_back(leaf)),
    law("in migration, all kinds", |leaf| leaf.level() == Level::Pud || every_kind(leaf)),
];

/// A mapping that a migration took out comes back with its rights and its history.
fn comes_back(leaf: Leaf) -> bool {
    let soft = Soft::migration_of(leaf, true);
    let back = Leaf::restored(leaf.level(), soft, leaf.prot(), true);
    back.is_some_and(|back| {
        back.pfn() == leaf.pfn()
            && back.is_young() == leaf.is_young()
            && back.is_dirty() == leaf.is_dirty()
            && back.is_writable() == leaf.is_writable()
    })
}

/// Each kind of migration entry is read as what was written.
fn every_kind(leaf: Leaf) -> bool {
    let kinds = [MigrationKind::Read, MigrationKind::ReadExclusive, MigrationKind::Write];
    kinds.into_iter().all(|kind| {
        let (young, dirty) = (leaf.is_young(), leaf.is_dirty());
        let soft = Soft::Migration { pfn: leaf.pfn(), kind, young, dirty, uffd_wp: false };
        let word = soft.encode(leaf.level());
        let moved = soft.with_pfn(Pfn(0));
        pte::decode(leaf.level(), word) == Entry::Soft(soft)
            && moved.with_pfn(leaf.pfn()) == soft
            && !matches!(soft.shared(), Soft::Migration { kind, .. } if kind.is_exclusive())
            && soft.shared().shared() == soft.shared()
    })
}
