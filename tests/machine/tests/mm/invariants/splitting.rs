//! Folios that are split, and the list of those that should be.

use super::stage::{
    Kind, PAGES, Scene, VA, block, entry, everywhere, frame, head, intruded, kept, page, pages,
    try_split,
};
use crate::common::races::misses;
use abi::{Access, Order, PMD_SIZE, VirtRange};
use granule_machine::Machine;
use mm::frame::Flag;
use mm::mutant::Mutant;
use mm::{Advice, Hardware, Space};
use stress::World;

fn text(error: impl ToString) -> String {
    error.to_string()
}

const LARGE: [Kind; 2] = [Kind::Sets, Kind::Huge];

/// Always: a tail has no references, and a new head has its owner, its size and its flags before it has any.
#[test]
fn i70_a_new_head_is_whole_before_it_has_references() {
    let scenario = |mutant| {
        everywhere(mutant, &LARGE, |scene| {
            let (map, space) = (scene.world.mm().frames.map(), scene.space());
            let first = head(space, VA);
            for order in [Order(3), Order(2), Order::PAGE] {
                let pages = map.desc(first).order().pages();
                space.split_folio_at(VA, order).map_err(|busy| busy.to_string())?;
                for n in 0..pages {
                    let (desc, part) = (map.desc(first + n), n & !(order.pages() - 1));
                    let whole =
                        map.head(first + n) == Some(first + part) && !desc.has(Flag::Locked);
                    let held = desc.refs() > 0;
                    if !whole || held != (n == part) {
                        return Err(format!(
                            "page {n} of parts of order {}: {}",
                            order.0,
                            desc.counts()
                        ));
                    }
                }
                scene.wrong().map_or(Ok(()), Err)?;
            }
            // Each is found from its name: a walk takes all of it out.
            let frozen = space.freeze_folio_at(page(1)).map_err(|busy| busy.to_string())?;
            drop(frozen);
            Ok(())
        })
    };
    misses(scenario, &[Mutant::SplitForgetsOwner]);
    // At each step of a split a page that is held is of one folio, and stays what it was.
    let splits = |space: &Space<'_, Machine>| try_split(space, Order(2));
    let looks = |scene: &Scene, space: &Space<'_, Machine>| {
        let Some(folio) = space.gup_fast(page(15), Access::Read) else { return Ok(()) };
        let word = scene.world.mm().hw.peek(folio.pfn().base());
        (word == 15).then_some(()).ok_or(format!("page 15 reads {word}"))
    };
    assert_eq!(intruded(None, &LARGE, 31, splits, looks), None);
}

/// At rest: pages, contents, flags and whose they are have outlived the split.
#[test]
fn i71_a_split_changes_nothing_but_the_size() {
    let scenario = |mutant| {
        everywhere(mutant, &LARGE, |scene| {
            let (mm, space) = (scene.world.mm(), scene.space());
            let child = kept(space.fork().map_err(text)?);
            scene.write(child, 1000);
            let rss = mm.audit().map_err(text)?.rss;
            let frames = |space| PAGES.map(|n| frame(space, page(n)));
            let before = (frames(space), frames(child));
            for member in [space, child] {
                for order in [Order(2), Order::PAGE] {
                    match member.split_folio_at(VA, order) {
                        Ok(()) | Err(mm::SplitError::BadOrder { .. }) => {}
                        Err(busy) => return Err(busy.to_string()),
                    }
                }
            }
            let audit = mm.audit().map_err(text)?;
            if audit.rss != rss || (frames(space), frames(child)) != before {
                return Err(format!("{} pages of {rss}, or others", audit.rss));
            }
            for member in [space, child] {
                let known = |n: &u64| {
                    let dirty = mm.frames.map().desc(head(member, page(*n))).has(Flag::Dirty);
                    dirty || entry(member, page(*n)).2.leaf().is_some_and(|leaf| leaf.is_dirty())
                };
                if let Some(n) = PAGES.iter().find(|n| !known(n)) {
                    return Err(format!("page {n} is clean"));
                }
            }
            scene.misread(space, 0).or_else(|| scene.misread(child, 1000)).map_or(Ok(()), Err)
        })
    };
    misses(scenario, &[Mutant::TakeOutForgetsDirt]);
}

/// At rest: a folio is on the deferred list exactly when it is partly mapped, and once; not after it is free.
#[test]
fn i72_the_deferred_list_has_what_is_partly_mapped() {
    let scenario = |mutant| {
        everywhere(mutant, &LARGE, |scene| {
            let (mm, space) = (scene.world.mm(), scene.space());
            let listed = |when: &str, n| match mm.deferred_folios() {
                found if found == n => scene.wrong().map_or(Ok(()), Err),
                found => Err(format!("{when}: {found} are listed, not {n}")),
            };
            listed("mapped", 0)?;
            space.unmap(pages(1, 1)).map_err(text)?;
            listed("a page less", 1)?;
            space.unmap(pages(2, 2)).map_err(text)?;
            listed("three less", 1)?;
            let _ = space.split_folio_at(VA, Order::PAGE);
            listed("split", 0)?;
            let space = scene.space();
            space.unmap(pages(1, 1)).map_err(text)?;
            listed("another", 1)?;
            space.unmap(block(0)).map_err(text)?;
            listed("free", 0)
        })
    };
    misses(scenario, &[Mutant::DeferredForgotten]);
    // Two give up a half each: the last one frees the folio, and nobody lists it afterwards.
    let halves = |mutant| {
        let half = |n: u64| VirtRange::from_size(VA + n * PMD_SIZE / 2, PMD_SIZE / 2);
        let gives = |space: &Space<'_, Machine>| {
            space.split_block(VA);
            space.advise(half(0), Advice::DontNeed).expect("an area");
        };
        intruded(mutant, &[Kind::Huge], 1, gives, |_, space| {
            space.advise(half(1), Advice::DontNeed).map_err(text)
        })
    };
    misses(halves, &[Mutant::DeferredUnheld]);
}
