//! A frame goes back: its translations are gone from every CPU that may have them, or the step that freed
//! it is the report.

mod common;

use abi::{Asid, Order, Prot};
use common::{ALL, ASID, BLOCK, DATA, LOCAL, Paper, block, everything, huge, leaf, of_page, page};
use granule_oracle::{Miss, Rule};
use pte::{Caps, Scope, Target, Tlbi};

const RW: Prot = Prot::ReadWrite;

/// A page, mapped, and taken out by CPU 0.
fn cleared(caps: Caps) -> Paper {
    let mut paper = Paper::new(caps);
    paper.store(0, page(0), leaf(DATA, RW));
    paper.exchange(0, page(0), 0);
    paper
}

#[test]
fn cleared_published_flushed_completed_and_freed() {
    for op in [of_page(0, ALL), of_page(0, LOCAL), everything(ALL)] {
        let mut paper = cleared(Caps::MAX);
        paper.flush(0, op);
        paper.free(DATA);
        paper.is_silent();
        assert_eq!(paper.oracle.outstanding(), 0);
    }
}

#[test]
fn no_flush_at_all() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::Nothing);
}

#[test]
fn the_flush_comes_before_the_store_is_published() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.tlbi(0, of_page(0, ALL));
    paper.complete(0, ALL);
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::NotPublished);
}

#[test]
fn nobody_waits_for_the_flush() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.publish(0, ALL);
    paper.tlbi(0, of_page(0, ALL));
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::NotComplete(0));
}

#[test]
fn another_cpu_waits_for_the_flush() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.publish(0, ALL);
    paper.tlbi(0, of_page(0, ALL));
    paper.complete(1, ALL);
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::NotComplete(0));
}

#[test]
fn a_barrier_for_this_cpu_waits_for_no_broadcast() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.publish(0, ALL);
    paper.tlbi(0, of_page(0, ALL));
    paper.complete(0, LOCAL);
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::NotComplete(0));
}

#[test]
fn another_asid() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.flush(0, Tlbi { target: Target::Asid(Asid(6)), scope: ALL });
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::OtherAsid(Asid(6)));
}

#[test]
fn another_page() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.flush(0, of_page(1, ALL));
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::Nothing);
}

/// A hint counts where the CPU reads it.
#[test]
fn a_hint_of_another_level() {
    let wrong = |op: Tlbi| match op.target {
        Target::Va { va, asid, depth, .. } => {
            let hint = Some(abi::Level::Pmd);
            Tlbi { target: Target::Va { va, asid, depth, hint }, ..op }
        }
        _ => op,
    };
    let mut paper = cleared(Caps::MAX);
    paper.flush(0, wrong(of_page(0, ALL)));
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::Hint(abi::Level::Pmd));
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.flush(0, wrong(of_page(0, ALL)));
    paper.free(DATA);
    paper.is_silent();
}

/// A local flush does for the CPUs that ran the space, if that is this one alone.
#[test]
fn a_local_flush_where_others_ran_the_space() {
    for ran in [0, 1, 2] {
        let mut paper = Paper::a72();
        paper.enter(ran, ASID);
        paper.store(0, page(0), leaf(DATA, RW));
        paper.exchange(0, page(0), 0);
        paper.flush(0, of_page(0, LOCAL));
        paper.free(DATA);
        match ran {
            0 => paper.is_silent(),
            _ => paper.misses(Rule::FrameFreed, Miss::Local(0)),
        }
    }
}

/// Each on its own CPU does as well.
#[test]
fn local_flushes_add_up() {
    let mut paper = Paper::a72();
    paper.enter(1, ASID);
    paper.store(0, page(0), leaf(DATA, RW));
    paper.exchange(0, page(0), 0);
    paper.flush(0, of_page(0, LOCAL));
    paper.flush(1, of_page(0, LOCAL));
    paper.free(DATA);
    paper.is_silent();
}

/// What one observer has seen all have: a barrier elsewhere publishes what a lock's release passed on.
#[test]
fn a_flush_by_another_cpu_counts_if_it_is_ordered() {
    for released in [true, false] {
        let mut paper = cleared(Caps::CORTEX_A72);
        if released {
            paper.unlock(0);
        }
        paper.flush(1, of_page(0, ALL));
        paper.free(DATA);
        match released {
            true => paper.is_silent(),
            false => paper.misses(Rule::FrameFreed, Miss::NotPublished),
        }
    }
}

/// Two CPUs flush the same page at once: whoever is done first has paid.
#[test]
fn flushes_of_two_cpus_do_not_undo_each_other() {
    for first in [0, 1] {
        let mut paper = cleared(Caps::CORTEX_A72);
        paper.publish(0, ALL);
        paper.tlbi(0, of_page(0, ALL));
        paper.tlbi(1, everything(ALL));
        paper.complete(first, ALL);
        paper.free(DATA);
        paper.is_silent();
    }
}

/// Who enters the space before the store is published may find what was there.
#[test]
fn who_enters_in_between_is_concerned_too() {
    for published in [true, false] {
        let mut paper = cleared(Caps::CORTEX_A72);
        if published {
            paper.publish(0, ALL);
        }
        paper.enter(1, ASID);
        paper.flush(0, of_page(0, LOCAL));
        paper.free(DATA);
        match published {
            true => paper.is_silent(),
            false => paper.misses(Rule::FrameFreed, Miss::Local(0)),
        }
    }
}

#[test]
fn what_never_ran_is_nowhere() {
    let mut paper = Paper::a72();
    paper.oracle.leave(common::by(0));
    paper.flush(0, everything(ALL));
    paper.store(0, page(0), leaf(DATA, RW));
    paper.exchange(0, page(0), 0);
    paper.free(DATA);
    paper.is_silent();
}

/// A CPU that runs something else does no harm, until it takes the space up again with the translation
/// still there.
#[test]
fn a_trap_for_who_comes_back() {
    for flushed in [true, false] {
        let mut paper = Paper::a72();
        paper.enter(1, ASID);
        paper.store(0, page(0), leaf(DATA, RW));
        paper.oracle.leave(common::by(1));
        paper.exchange(0, page(0), 0);
        paper.flush(0, of_page(0, LOCAL));
        paper.free(DATA);
        paper.is_silent();
        if flushed {
            paper.flush(1, everything(LOCAL));
        }
        paper.enter(1, ASID);
        match flushed {
            true => paper.is_silent(),
            false => paper.breaks(Rule::AsidTrap),
        }
    }
}

#[test]
fn a_frame_is_freed_while_it_is_mapped() {
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, RW));
    paper.free(DATA);
    paper.breaks(Rule::FrameMapped);
}

/// An entry whose access flag was taken away is not cached, but what it was before may be.
#[test]
fn an_old_entry_is_feared_for_what_it_was() {
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, RW));
    paper.store(0, page(0), leaf(DATA, RW) & !pte::bits::AF);
    paper.exchange(0, page(0), 0);
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::Nothing);
    // And one that never had it is not.
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, RW) & !pte::bits::AF);
    paper.exchange(0, page(0), 0);
    paper.free(DATA);
    paper.is_silent();
}

/// Each page of a block that was mapped as one is reached by it.
#[test]
fn a_block_covers_all_its_pages() {
    for flushed in [true, false] {
        let mut paper = Paper::a72();
        paper.store(0, block(1), huge(BLOCK));
        paper.exchange(0, block(1), 0);
        if flushed {
            paper.flush(0, of_page(512 + 7, ALL));
        }
        paper.free(BLOCK + 300);
        match flushed {
            true => paper.is_silent(),
            false => paper.misses(Rule::FrameFreed, Miss::Nothing),
        }
    }
}

/// Two entries of one frame are two debts.
#[test]
fn a_frame_with_two_entries_needs_both_flushed() {
    for flushed in [[true, true], [true, false], [false, true]] {
        let mut paper = Paper::a72();
        for n in 0..2 {
            paper.store(0, page(n), leaf(DATA, RW));
        }
        for n in 0..2 {
            paper.exchange(0, page(n), 0);
        }
        for (n, _) in flushed.iter().enumerate().filter(|(_, flushed)| **flushed) {
            paper.flush(0, of_page(n as u64, ALL));
        }
        paper.free(DATA);
        match flushed {
            [true, true] => paper.is_silent(),
            _ => paper.misses(Rule::FrameFreed, Miss::Nothing),
        }
    }
}

#[test]
fn a_range_operation_covers_its_pages_and_no_others() {
    use pte::{AsidMatch, Depth};
    for (start, silent) in [(0, true), (1, false)] {
        let mut paper = Paper::new(Caps::MAX);
        paper.store(0, page(0), leaf(DATA, RW));
        paper.exchange(0, page(0), 0);
        let target = Target::Range {
            start: common::VA + start * abi::PAGE_SIZE,
            scale: 0,
            num: 0,
            asid: AsidMatch::Only(ASID),
            depth: Depth::LastLevel,
            hint: None,
        };
        paper.flush(0, Tlbi { target, scope: Scope::InnerShareable });
        paper.free(DATA);
        match silent {
            true => paper.is_silent(),
            false => paper.misses(Rule::FrameFreed, Miss::Nothing),
        }
    }
}

#[test]
fn a_block_is_given_out_twice() {
    let mut paper = Paper::a72();
    paper.alloc(DATA, Order::PAGE);
    paper.breaks(Rule::FrameTaken);
}

/// The first broken rule is the one that is kept.
#[test]
fn the_first_is_kept() {
    let mut paper = cleared(Caps::CORTEX_A72);
    paper.free(DATA);
    let first = paper.to_string();
    paper.alloc(BLOCK, Order::PMD);
    paper.store(0, page(1), 0b11);
    assert_eq!(paper.to_string(), first);
}

/// With the erratum, what was waited for is over only when another operation was issued and waited for.
#[test]
fn a_barrier_that_may_end_early_is_repeated() {
    let early = Caps { repeat_tlbi: true, ..Caps::CORTEX_A72 };
    let flushed = |second: fn(&mut Paper)| {
        let mut paper = cleared(early);
        paper.flush(0, of_page(0, ALL));
        second(&mut paper);
        paper.free(DATA);
        paper
    };
    flushed(|_| ()).misses(Rule::FrameFreed, Miss::NotRepeated(0));
    // Another barrier alone waits for nothing more; nor does one of less, or of another CPU.
    flushed(|paper| paper.complete(0, ALL)).misses(Rule::FrameFreed, Miss::NotRepeated(0));
    flushed(|paper| paper.tlbi(0, of_page(9, ALL))).misses(Rule::FrameFreed, Miss::NotRepeated(0));
    flushed(|paper| paper.flush(0, of_page(9, LOCAL)))
        .misses(Rule::FrameFreed, Miss::NotRepeated(0));
    flushed(|paper| paper.flush(1, of_page(9, ALL))).misses(Rule::FrameFreed, Miss::NotRepeated(0));
    flushed(|paper| paper.flush(0, of_page(9, ALL))).is_silent();
}

/// An ASID that was flushed as a whole is as free as the barriers say.
#[test]
fn an_asid_is_clean_when_its_flush_was_repeated() {
    let early = Caps { repeat_tlbi: true, ..Caps::CORTEX_A72 };
    for again in [false, true] {
        let mut paper = Paper::for_traces(early);
        paper.play("map 0 A; twin; leave; tlbi.asid.nsh; dsb.nsh");
        if again {
            paper.play("tlbi.asid.nsh.other; dsb.nsh");
        }
        paper.play("enter.twin");
        match again {
            true => paper.is_silent(),
            false => paper.breaks(Rule::AsidStale),
        }
    }
}
