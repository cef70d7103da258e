//! The machine's TLB maintenance: what an operation removes, when it has, and whose TLBs it reaches.

use crate::common::{ASID, Rig, VA, dirty, huge, leaf_at, page};
use abi::{Asid, Level, Order, PMD_SIZE, Pfn};
use mm::{Hardware, Note, Slot};
use pte::{AsidMatch, Caps, Depth, Scope, Table, Target, Tlbi};

const A72: Caps = Caps::CORTEX_A72;
const TTL: Caps = Caps { ttl: true, ..A72 };

/// Clears a page's entry, does something, and frees the page.
fn freed_after(caps: Caps, flush: impl Fn(&Rig, Slot)) -> Rig {
    let rig = Rig::new(caps);
    let pfn = rig.page();
    let slot = rig.map(VA, dirty(pfn));
    rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
    flush(&rig, slot);
    rig.free(pfn, Order::PAGE);
    rig
}

const OWED: &str = "freed while cpu 1 has yet to lose leaf";

#[test]
fn a_frame_is_freed_after_publish_flush_and_completion() {
    freed_after(A72, |rig, _| (rig.publish(), rig.flush(VA)).1).silent();
    freed_after(A72, |_, _| ()).caught(OWED);
    freed_after(A72, |rig, _| rig.publish()).caught(OWED);
    freed_after(A72, |rig, _| rig.flush(VA)).caught(OWED);
    freed_after(A72, |rig, _| (rig.flush(VA), rig.publish()).1).caught(OWED);
    freed_after(A72, |rig, _| (rig.publish(), rig.issue(leaf_at(VA, None))).1).caught(OWED);
    freed_after(A72, |rig, _| (rig.publish(), rig.flush(page(1))).1).caught(OWED);
}

#[test]
fn an_operation_reaches_its_scope_and_its_asid() {
    let with = |scope, asid| {
        move |rig: &Rig, _: Slot| {
            rig.publish();
            let target = Target::Va { va: VA, asid, depth: Depth::LastLevel, hint: None };
            rig.machine.tlbi(Tlbi { target, scope });
            rig.complete();
        }
    };
    freed_after(A72, with(Scope::InnerShareable, AsidMatch::Only(ASID))).silent();
    freed_after(A72, with(Scope::InnerShareable, AsidMatch::Any)).silent();
    freed_after(A72, with(Scope::InnerShareable, AsidMatch::Only(Asid(8)))).caught(OWED);
    freed_after(A72, with(Scope::Local, AsidMatch::Only(ASID))).caught(OWED);
    let whole = |target| {
        move |rig: &Rig, _: Slot| {
            rig.publish();
            rig.issue(target);
            rig.complete();
        }
    };
    freed_after(A72, whole(Target::All)).silent();
    freed_after(A72, whole(Target::Asid(ASID))).silent();
    freed_after(A72, whole(Target::Asid(Asid(8)))).caught(OWED);
}

/// A barrier of the local scope is for one's own walker and one's own operations.
#[test]
fn a_local_barrier_is_for_oneself() {
    let mine = |scope| {
        move |rig: &Rig, _: Slot| {
            rig.machine.publish(scope);
            rig.flush(VA);
        }
    };
    freed_after(A72, mine(Scope::InnerShareable)).silent();
    freed_after(A72, mine(Scope::Local)).caught(OWED);
    // What only this CPU ran, only this CPU has.
    let rig = Rig::new(A72);
    rig.leave(1);
    let pfn = rig.page();
    let slot = rig.map(VA, dirty(pfn));
    rig.enter(0);
    rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
    rig.machine.publish(Scope::Local);
    rig.machine.tlbi(Tlbi { target: leaf_at(VA, None), scope: Scope::Local });
    rig.machine.complete(Scope::Local);
    rig.machine.synchronize_context();
    rig.free(pfn, Order::PAGE);
    rig.silent();
}

/// A wrong hint removes nothing where the CPU reads it, and is not there where it does not.
#[test]
fn a_level_hint_counts_where_the_cpu_reads_it() {
    let hinted = |hint| {
        move |rig: &Rig, _: Slot| {
            rig.publish();
            rig.issue(leaf_at(VA, Some(hint)));
            rig.complete();
        }
    };
    freed_after(TTL, hinted(Level::Pte)).silent();
    freed_after(TTL, hinted(Level::Pmd)).caught(OWED);
    freed_after(TTL, hinted(Level::Pud)).caught(OWED);
    // Level 0 is no hint.
    freed_after(TTL, hinted(Level::Pgd)).silent();
    freed_after(A72, hinted(Level::Pmd)).silent();
    for (caps, left) in [(TTL, 1), (A72, 0)] {
        let rig = Rig::new(caps);
        let pfn = rig.alloc(Order::PMD);
        rig.map(VA, huge(pfn));
        assert!(rig.cache(page(77)));
        rig.issue(leaf_at(VA, Some(Level::Pte)));
        rig.complete();
        assert_eq!(rig.held(page(77)), left);
        rig.issue(leaf_at(page(300), Some(Level::Pmd)));
        rig.complete();
        assert_eq!(rig.held(page(77)), 0, "any address in the block will do");
    }
}

#[test]
fn a_range_removes_its_pages_where_there_are_ranges() {
    let range = |start, num, hint| {
        let asid = AsidMatch::Only(ASID);
        Target::Range { start, scale: 0, num, asid, depth: Depth::LastLevel, hint }
    };
    let left = |target| {
        let rig = Rig::new(Caps::MAX);
        for n in 0..8 {
            rig.map(page(n), dirty(rig.page()));
            assert!(rig.cache(page(n)));
        }
        rig.issue(target);
        rig.complete();
        rig.silent();
        (0..8).filter(|n| rig.held(page(*n)) > 0).collect::<Vec<_>>()
    };
    // Pages come in pairs.
    assert_eq!(left(range(page(2), 0, Some(Level::Pte))), [0, 1, 4, 5, 6, 7]);
    assert_eq!(left(range(page(1), 2, None)), [0, 7]);
    assert_eq!(left(range(page(2), 0, Some(Level::Pmd))), [0, 1, 2, 3, 4, 5, 6, 7]);
    let rig = Rig::new(TTL);
    rig.issue(range(VA, 0, None));
    rig.caught("without FEAT_TLBIRANGE");
}

/// The operation takes the leaf, and leaves the walk; or takes both.
#[test]
fn a_table_is_freed_after_its_walk_is_gone() {
    let free = |flush: &dyn Fn(&Rig)| {
        let rig = Rig::new(A72);
        let pmd = rig.slot(VA, Level::Pmd);
        let pfn = rig.page();
        let table = rig.map(VA, dirty(pfn)).table();
        rig.swap(pmd, Level::Pmd, 0);
        flush(&rig);
        rig.machine.note(Note::TableFree(table, Level::Pte));
        rig.free(table, Order::PAGE);
        rig.free(pfn, Order::PAGE);
        rig
    };
    free(&|rig| rig.flush_walks(VA)).silent();
    free(&|rig| rig.flush(VA)).caught("pte table 0x40004 freed while cpu 1 has yet to lose table");
    free(&|_| ()).caught("freed while cpu 1 has yet to lose table");
    // A hint is for leaves: what is hinted to be a block leaves the table's own descriptor.
    let asid = AsidMatch::Only(ASID);
    let hint = Some(Level::Pmd);
    let hinted = Target::Va { va: VA, asid, depth: Depth::AllLevels, hint };
    let rig = Rig::new(TTL);
    rig.map(VA, dirty(rig.page()));
    assert!(rig.cache(VA));
    rig.issue(hinted);
    rig.complete();
    let walks = |rig: &Rig| rig.machine.cached().iter().filter(|t| t.leaf.is_none()).count();
    assert_eq!(walks(&rig), 1, "the PMD table's walk is at the hinted level, those above went");
}

#[test]
fn a_linked_table_is_not_freed() {
    let rig = Rig::new(A72);
    let table = rig.slot(VA, Level::Pte).table();
    rig.machine.note(Note::TableFree(table, Level::Pte));
    rig.caught("while a running space has it linked");
    // A space that nobody runs any more is freed as it is, after a flush of its ASID.
    for flush in [true, false] {
        let rig = Rig::new(A72);
        let pfn = rig.page();
        let table = rig.map(VA, dirty(pfn)).table();
        assert!(rig.cache(VA));
        rig.leave(1);
        if flush {
            rig.issue(Target::Asid(ASID));
            rig.complete();
        }
        rig.free(pfn, Order::PAGE);
        rig.machine.note(Note::TableFree(table, Level::Pte));
        rig.free(table, Order::PAGE);
        rig.silent();
        rig.machine.note(Note::TableFree(rig.root, Level::Pgd));
        rig.free(rig.root, Order::PAGE);
        let root = rig.table(Level::Pgd);
        rig.machine.on(1, || rig.machine.switch_user(root, ASID));
        if flush { rig.silent() } else { rig.caught("taken up with") }
    }
}

/// What cannot be used does no harm; it does when its ASID is taken up again.
#[test]
fn a_translation_under_an_asid_out_of_use_is_harmless_until_used() {
    for (cached, flush) in [(true, true), (true, false), (false, true), (false, false)] {
        let rig = Rig::new(A72);
        let pfn = rig.page();
        let slot = rig.map(VA, dirty(pfn));
        if cached {
            assert!(rig.cache(VA));
        }
        rig.leave(1);
        rig.swap(slot, Level::Pte, 0);
        rig.free(pfn, Order::PAGE);
        rig.silent();
        if flush {
            rig.machine.on(1, || {
                rig.machine.tlbi(Tlbi { target: Target::All, scope: Scope::Local });
                rig.machine.complete(Scope::Local);
            });
        }
        // Another number is no matter.
        rig.machine.on(1, || rig.machine.switch_user(rig.root, Asid(9)));
        rig.silent();
        rig.enter(1);
        if flush { rig.silent() } else { rig.caught("freed") }
    }
}

#[test]
fn two_spaces_run_under_two_numbers() {
    let rig = Rig::new(A72);
    let other = rig.table(Level::Pgd);
    rig.machine.switch_user(other, Asid(8));
    rig.machine.switch_user(rig.root, ASID);
    rig.silent();
    rig.machine.switch_user(other, ASID);
    rig.caught("while cpu 1 runs another space under it");
}

/// A CPU that enters a space before a clear is published walks what was there.
#[test]
fn who_enters_before_the_clear_is_seen_has_it_too() {
    for early in [true, false] {
        let rig = Rig::new(A72);
        let pfn = rig.page();
        let slot = rig.map(VA, dirty(pfn));
        rig.leave(1);
        rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
        let enter = || rig.machine.on(1, || rig.machine.switch_user(rig.root, Asid(9)));
        if early {
            enter();
        }
        rig.publish();
        if !early {
            enter();
        }
        // A flush under the number that it had.
        rig.flush(VA);
        rig.free(pfn, Order::PAGE);
        if early { rig.caught(OWED) } else { rig.silent() }
    }
}

/// A store that another CPU has read, or that came before a lock's release, is one that its barrier
/// publishes as well as one's own.
#[test]
fn a_barrier_vouches_for_what_was_seen_before() {
    let other = |vouches: &dyn Fn(&Rig, Slot)| {
        let rig = Rig::new(A72);
        let pfn = rig.page();
        let slot = rig.map(VA, dirty(pfn));
        // CPU 0 clears; CPU 1 flushes, which may never have heard of it.
        rig.machine.lock_wanted(sync::Class::PteTable);
        rig.machine.swap(slot, 0);
        vouches(&rig, slot);
        rig.machine.on(1, || {
            rig.publish();
            rig.flush(VA);
            rig.machine.synchronize_context();
        });
        rig.free(pfn, Order::PAGE);
        rig
    };
    use sync::Cpu;
    other(&|rig, _| rig.machine.lock_dropped(sync::Class::PteTable)).silent();
    other(&|rig, slot| assert_eq!(rig.machine.on(1, || rig.machine.load(slot)), 0)).silent();
    other(&|rig, slot| assert_eq!(rig.machine.load(slot), 0)).caught(OWED);
    other(&|_, _| ()).caught(OWED);
}

/// Two CPUs store to one slot: what the first has published cannot be missed on account of the second.
#[test]
fn a_published_store_stays_published() {
    let rig = Rig::new(A72);
    let (one, other) = (rig.page(), rig.page());
    let slot = rig.map(VA, dirty(one));
    rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
    rig.publish();
    rig.flush(VA);
    rig.machine.on(1, || rig.locked(Level::Pte, || rig.machine.store(slot, dirty(other).word())));
    for _ in 0..64 {
        rig.cache(VA);
    }
    assert!(rig.machine.cached().iter().all(|t| !t.leads_to(one)), "it was published");
    rig.free(one, Order::PAGE);
    rig.silent();
}

/// What was narrowed and not flushed can be asked for.
#[test]
fn what_may_still_be_cached_can_be_asked_for() {
    let rig = Rig::new(A72);
    let leaf = dirty(rig.page());
    let slot = rig.map(VA, leaf);
    assert_eq!(rig.machine.stale(), []);
    rig.swap(slot, Level::Pte, leaf.write_protected().word());
    let stale = rig.machine.stale();
    assert_eq!(
        stale.iter().map(|t| (t.cpu, t.asid, t.leaf)).collect::<Vec<_>>(),
        [(1, ASID, Some(leaf))]
    );
    rig.flush(VA);
    assert_eq!(rig.machine.stale(), []);
    // An older access flag is no other translation.
    rig.swap(slot, Level::Pte, leaf.write_protected().made_old().word());
    assert_eq!(rig.machine.stale(), []);
    rig.swap(slot, Level::Pte, 0);
    assert_eq!(rig.machine.stale().len(), 1);
    rig.machine.quiesce();
    assert_eq!(rig.machine.stale().len(), 1, "no operation was issued");
    rig.issue(Target::Asid(ASID));
    rig.machine.quiesce();
    assert_eq!(rig.machine.stale(), []);
    rig.silent();
}

/// A whole table moves to another address: the old addresses need a flush, pages and walk.
#[test]
fn a_moved_table_leaves_stale_addresses() {
    let rig = Rig::new(A72);
    let pfn = rig.page();
    let table = rig.map(VA, dirty(pfn)).table();
    let (from, to) = (rig.slot(VA, Level::Pmd), rig.slot(VA + PMD_SIZE, Level::Pmd));
    rig.locked(Level::Pmd, || {
        rig.machine.swap(from, 0);
        rig.machine.store(to, Table::new(table).word());
    });
    rig.publish();
    assert!(rig.machine.stale().iter().all(|t| t.range.contains(VA)));
    assert_eq!(rig.machine.stale().len(), 2);
    rig.flush_walks(VA);
    assert_eq!(rig.machine.stale(), []);
    // At its new place it is what it was.
    rig.swap(Slot::new(table, 0), Level::Pte, 0);
    rig.flush(VA);
    rig.free(pfn, Order::PAGE);
    rig.caught(OWED);
}

/// The report tells what led to it.
#[test]
fn a_report_tells_what_led_to_it() {
    let rig = freed_after(A72, |rig, _| (rig.publish(), rig.flush(page(1))).1);
    let violation = rig.machine.violation().expect("seen above");
    let tells = |what: &str| violation.story.before.iter().any(|event| event.text.contains(what));
    assert!(tells("-> leaf 4K") && tells("-> none") && tells("freed"), "{violation}");
    assert!(!tells("tlbi"), "the flush was of something else: {violation}");
    let _: Pfn = rig.root;
}

/// A CPU that has left a space and drops everything cannot find it again, seen or not; but when it comes
/// back before it is seen, it can.
#[test]
fn who_has_left_loses_what_it_cannot_see_gone() {
    for back in [None, Some(ASID), Some(Asid(9))] {
        let rig = Rig::new(A72);
        let pfn = rig.page();
        let slot = rig.map(VA, dirty(pfn));
        rig.leave(1);
        rig.locked(Level::Pte, || {
            rig.machine.swap(slot, 0);
            rig.machine.on(1, || {
                rig.machine.tlbi(Tlbi { target: Target::All, scope: Scope::Local });
                rig.machine.complete(Scope::Local);
                if let Some(asid) = back {
                    rig.machine.switch_user(rig.root, asid);
                }
            });
        });
        rig.publish();
        rig.free(pfn, Order::PAGE);
        if back.is_some() {
            rig.caught(OWED);
            continue;
        }
        rig.enter(1);
        rig.silent();
    }
}

/// The first CPU to run a space enters it between a clear and its publication.
#[test]
fn who_enters_first_may_find_what_nobody_had() {
    let rig = Rig::new(A72);
    let root = rig.table(Level::Pgd);
    let tables = [Level::Pud, Level::Pmd, Level::Pte].map(|level| rig.table(level));
    let mut table = root;
    for (level, next) in [Level::Pgd, Level::Pud, Level::Pmd].into_iter().zip(tables) {
        rig.set(Slot::new(table, level.index(VA)), level, Table::new(next).word());
        table = next;
    }
    let (pfn, slot) = (rig.page(), Slot::new(table, Level::Pte.index(VA)));
    rig.set(slot, Level::Pte, dirty(pfn).word());
    rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
    rig.machine.on(1, || rig.machine.switch_user(root, Asid(9)));
    rig.publish();
    rig.free(pfn, Order::PAGE);
    rig.caught(OWED);
}

/// What a CPU's own operation removes it may have worked out already, for its next instructions.
#[test]
fn a_cpu_loses_what_it_flushes_when_it_synchronises() {
    let flushed = |then: &dyn Fn(&Rig)| {
        freed_after(A72, |rig, _| {
            rig.publish();
            rig.machine.on(1, || {
                rig.flush(VA);
                then(rig);
            });
        })
    };
    flushed(&|_| ()).caught(OWED);
    flushed(&|rig| rig.publish()).caught(OWED);
    flushed(&|rig| rig.machine.synchronize_context()).silent();
    flushed(&|rig| rig.machine.switch_user_off()).silent();
    // A new translation is beside nothing in a TLB, though somebody may yet go by the old one.
    let rig = Rig::new(A72);
    let (old, new) = (rig.page(), rig.page());
    let slot = rig.map(VA, dirty(old));
    rig.machine.on(1, || {
        rig.swap(slot, Level::Pte, 0);
        rig.flush(VA);
        rig.set(slot, Level::Pte, dirty(new).word());
    });
    rig.silent();
    // Another one's context has nothing to do with it.
    let other = |rig: &Rig| rig.machine.on(0, || rig.machine.synchronize_context());
    flushed(&other).caught(OWED);
    // Nor does it owe one to the CPU that issued it for others.
    freed_after(A72, |rig, _| (rig.publish(), rig.flush(VA)).1).silent();
}

/// With the erratum, operations are over for certain only when another one was waited for as well.
#[test]
fn a_barrier_that_ends_too_early_is_repeated() {
    let broken = Caps { repeat_tlbi: true, ..A72 };
    let once = |times: u32| {
        move |rig: &Rig, _: Slot| {
            rig.publish();
            for _ in 0..times {
                rig.issue(leaf_at(VA, None));
                rig.complete();
            }
        }
    };
    freed_after(A72, once(1)).silent();
    freed_after(broken, once(1)).caught(OWED);
    freed_after(broken, once(2)).silent();
    // Whatever the second one is of: that it comes between the barriers counts.
    freed_after(broken, |rig, _| {
        rig.publish();
        rig.flush(VA);
        rig.flush(VA + PMD_SIZE);
    })
    .silent();
}

/// Unlinks a table with a leaf in it, flushes as is told, and links it elsewhere with another one.
fn relinked_after(caps: Caps, flush: impl Fn(&Rig)) -> Rig {
    let rig = Rig::new(caps);
    let (old, new) = (rig.page(), rig.page());
    let slot = rig.map(page(1), dirty(old));
    let above = rig.slot(VA, Level::Pmd);
    rig.cache(page(1));
    let table = rig.swap(above, Level::Pmd, 0);
    flush(&rig);
    rig.set(slot, Level::Pte, dirty(new).word());
    let elsewhere = rig.slot(VA + PMD_SIZE, Level::Pmd);
    rig.set(elsewhere, Level::Pmd, table);
    rig
}

/// A walker may know a table's slots by their place, whatever leads there now.
#[test]
fn a_table_is_linked_again_after_its_slots_were_flushed() {
    let copied = "may still have slot";
    let knows = Caps { ntlbpa: true, ..A72 };
    relinked_after(A72, |rig| rig.flush_walks(page(1))).silent();
    // The walk is gone with any address below it, and the leaf is not.
    relinked_after(A72, |rig| rig.flush_walks(VA)).caught(copied);
    relinked_after(A72, |_| ()).caught(copied);
    relinked_after(knows, |rig| rig.flush_walks(VA)).silent();
}
