//! Every change with no memory at all, then with one page, with two, and so on, until it succeeds: after each
//! refusal everything is as it was, and what needs no memory is not refused.

use super::scene::*;
use crate::common::{Untouched, machines};
use abi::{Access, Order, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::{Advice, Huge, Move, Place, Space};
use stress::World;

/// What is done to memory that lies in two blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Unmap,
    Protect(Prot),
    Drop,
    GiveUp,
    SplitBlock,
    SplitFolio,
    Move,
    MoveBlock,
    Shrink,
    Fork,
    Write,
    Unshare,
    ReadNew,
    WriteNew,
    PopulateNew,
}

const CHANGES: [Change; 17] = [
    Change::Unmap,
    Change::Protect(Prot::Read),
    Change::Protect(Prot::None),
    Change::Protect(Prot::ReadExec),
    Change::Drop,
    Change::GiveUp,
    Change::SplitBlock,
    Change::SplitFolio,
    Change::Move,
    Change::MoveBlock,
    Change::Shrink,
    Change::Fork,
    Change::Write,
    Change::Unshare,
    Change::ReadNew,
    Change::WriteNew,
    Change::PopulateNew,
];

/// Across the border of the blocks, and neither at the ends of a contiguous set.
fn piece() -> VirtRange {
    pages(BLOCK - 21, 45)
}

/// Nothing is mapped here yet.
fn fresh() -> VirtRange {
    pages(BLOCK * BLOCK, 2 * BLOCK)
}

impl Change {
    /// Whether what it needs was put aside before.
    fn needs_nothing(self) -> bool {
        use Change::{Drop, GiveUp, Protect, Shrink, SplitBlock, SplitFolio, Unmap};
        matches!(self, Unmap | Protect(_) | Drop | GiveUp | SplitBlock | SplitFolio | Shrink)
    }

    /// Makes it; an error of whatever kind is a refusal. What it makes is gone when it returns.
    fn make(self, world: &SimWorld, space: &Space<'_, Machine>) -> Result<(), String> {
        let (piece, bytes) = (piece(), piece().bytes());
        let advise =
            |range, advice| space.advise(range, advice).map_err(|error| format!("{error:?}"));
        let touch = |va, kind| access(world, space, va, kind).map_err(|error| format!("{error:?}"));
        match self {
            Self::Unmap => space.unmap(piece).map_err(|error| format!("{error:?}")),
            Self::Protect(prot) => space.protect(piece, prot).map_err(|error| format!("{error:?}")),
            Self::Drop => advise(piece, Advice::DontNeed),
            Self::GiveUp => advise(piece, Advice::Free),
            Self::SplitBlock => {
                space.split_block(piece.start);
                Ok(())
            }
            Self::SplitFolio => {
                let _ = space.split_folio_at(piece.start, Order::PAGE);
                Ok(())
            }
            Self::Move => {
                let to = Move::To(page(7 * BLOCK * BLOCK - 3));
                space.remap(piece, bytes, to).map(drop).map_err(|error| format!("{error:?}"))
            }
            Self::MoveBlock => {
                let (from, to) = (pages(0, BLOCK), page(7 * BLOCK * BLOCK));
                let moved = space.remap(from, from.bytes(), Move::To(to));
                moved.map(drop).map_err(|error| format!("{error:?}"))
            }
            Self::Shrink => {
                let shrunk = space.remap(pages(0, 2 * BLOCK), piece.start - VA, Move::No);
                shrunk.map(drop).map_err(|error| format!("{error:?}"))
            }
            Self::Fork => space.fork().map(drop).map_err(|error| format!("{error:?}")),
            Self::Write => touch(piece.start, Access::Write),
            Self::Unshare => {
                let pin = space.pin(piece.start, Access::Read);
                pin.map(drop).map_err(|error| format!("{error:?}"))
            }
            Self::ReadNew => touch(fresh().start, Access::Read),
            Self::WriteNew => touch(fresh().start, Access::Write),
            Self::PopulateNew => {
                advise(VirtRange::from_size(fresh().start, 20 * PAGE_SIZE), Advice::PopulateWrite)
            }
        }
    }

    /// Whether the page at `va` may be another one, or none, afterwards.
    fn concerns(self, va: VirtAddr) -> bool {
        use Change::{Fork, SplitBlock, SplitFolio, Unshare, Write};
        match self {
            Self::MoveBlock => pages(0, BLOCK).contains(va),
            Self::Shrink => va >= piece().start,
            SplitBlock | SplitFolio | Fork | Write | Unshare => false,
            _ => piece().contains(va),
        }
    }
}

/// Who else has the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Others {
    Nobody,
    Child,
    /// A child had it, and is gone.
    LateChild,
    /// Somebody who has pinned a page, and a child.
    PinAndChild,
}

const OTHERS: [Others; 4] = [Others::Nobody, Others::Child, Others::LateChild, Others::PinAndChild];

#[test]
fn what_is_refused_has_changed_nothing() {
    let all = pages(0, 2 * BLOCK);
    for (n, change) in CHANGES.into_iter().enumerate() {
        for kind in KINDS {
            for others in OTHERS {
                let config = machines()[n % 2];
                let world = world(Config { pages: 4096, ..config }, kind);
                let untouched = Untouched::new(&world);
                let space = stamped(&world, all);
                space
                    .map(Place::At(fresh().start), fresh().bytes(), RW, Huge::Default)
                    .expect("free");
                let pin = (others == Others::PinAndChild)
                    .then(|| space.pin(page(BLOCK - 20), Access::Write).expect("memory"));
                let child = (others != Others::Nobody).then(|| space.fork().expect("memory"));
                drop(pin);
                let child = child.filter(|_| others != Others::LateChild);
                let mut done = false;
                for left in (0..24).chain([600, 1200]) {
                    let famine = Famine::but(&world, left);
                    let result = change.make(&world, &space);
                    drop(famine);
                    let scene = format!("{change:?} {kind:?} {others:?} with {left}: {result:?}");
                    assert_eq!(wrong(&world), None, "{scene}");
                    done = result.is_ok();
                    let gone = |va| done && change.concerns(va);
                    let mut found = Vec::new();
                    world.inside(&space, &mut || {
                        let rest = each_page(all).filter(|va| !gone(*va));
                        found.extend(rest.filter(|va| world.load(&space, *va) != Ok(stamp(*va))));
                    });
                    assert_eq!(found, [], "{scene}");
                    assert!(done || !change.needs_nothing(), "{scene}");
                    if done {
                        break;
                    }
                }
                assert!(done, "{change:?} {kind:?} {others:?}: more memory does not help");
                if let Some(child) = &child {
                    check(&world, child, all, stamp);
                }
                drop((child, space));
                untouched.check(&world);
            }
        }
    }
}
