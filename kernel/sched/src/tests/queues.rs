//! Run queues against a plain model.

use crate::run_queue::RunQueue;
use crate::table::{MAX_THREADS, Table};
use crate::thread::{Life, Slot};
use crate::{Affinity, Name};
use abi::{CpuId, MAX_CPUS, VirtAddr, VirtRange};
use core::sync::atomic::Ordering;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::VecDeque;

fn table_of(affinities: &[Affinity]) -> (Box<Table>, std::vec::Vec<Slot>) {
    let table = Box::new(Table::new());
    let slots = affinities
        .iter()
        .map(|affinity| {
            let slot = table.claim().unwrap();
            let stack = VirtRange::new(VirtAddr(0), VirtAddr(0));
            table.thread(slot).reset(Name::new("t"), *affinity, stack);
            slot
        })
        .collect();
    (table, slots)
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Push(usize),
    Pop,
    Steal,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![(0usize..12).prop_map(Op::Push), Just(Op::Pop), Just(Op::Steal)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn first_come_first_served_and_only_the_movable_are_stolen(
        bound in prop::collection::vec(any::<bool>(), 12),
        ops in prop::collection::vec(op(), 0..80),
    ) {
        let affinity = |b: &bool| if *b { Affinity::Cpu(CpuId(0)) } else { Affinity::Any };
        let affinities: std::vec::Vec<_> = bound.iter().map(affinity).collect();
        let (table, slots) = table_of(&affinities);
        let mut rq = RunQueue::new();
        let mut model: VecDeque<usize> = VecDeque::new();
        for op in ops {
            match op {
                Op::Push(n) if model.contains(&n) => {}
                Op::Push(n) => {
                    rq.push(&table, slots[n]);
                    model.push_back(n);
                }
                Op::Pop => {
                    prop_assert_eq!(rq.pop(&table), model.pop_front().map(|n| slots[n]));
                }
                Op::Steal => {
                    let at = model.iter().position(|n| !bound[*n]);
                    let expected = at.and_then(|at| model.remove(at)).map(|n| slots[n]);
                    prop_assert_eq!(rq.steal(&table), expected);
                }
            }
            prop_assert_eq!(rq.nr_ready(), model.len());
        }
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_deadlines(
        deadlines in prop::collection::vec(0u64..20, 1..12),
        cancelled in 0usize..12,
        steps in prop::collection::vec(0u64..6, 1..8),
    ) {
        let (table, slots) = table_of(&std::vec![Affinity::Any; deadlines.len()]);
        let mut rq = RunQueue::new();
        let mut model: std::vec::Vec<(u64, usize)> = std::vec::Vec::new();
        for (n, deadline) in deadlines.iter().enumerate() {
            table.thread(slots[n]).deadline_ns.store(*deadline, Ordering::Relaxed);
            rq.add_sleeper(&table, slots[n]);
            model.push((*deadline, n));
        }
        if let Some(slot) = slots.get(cancelled) {
            rq.remove_sleeper(&table, *slot);
            model.retain(|(_, n)| *n != cancelled);
        }
        model.sort();
        let mut now = 0;
        for step in steps {
            now += step;
            while let Some(slot) = rq.pop_expired(&table, now) {
                let (deadline, n) = model.remove(0);
                prop_assert!(deadline <= now);
                prop_assert_eq!(slot, slots[n]);
            }
            prop_assert!(model.first().is_none_or(|(deadline, _)| *deadline > now));
            prop_assert_eq!(rq.next_event_ns(&table), model.first().map(|(d, _)| *d));
        }
    }
}

#[test]
fn the_timer_fires_for_the_earlier_of_slice_and_sleeper() {
    let (table, slots) = table_of(&[Affinity::Any]);
    let mut rq = RunQueue::new();
    assert_eq!(rq.next_event_ns(&table), None);
    table.thread(slots[0]).deadline_ns.store(50, Ordering::Relaxed);
    rq.add_sleeper(&table, slots[0]);
    assert_eq!(rq.next_event_ns(&table), Some(50));
    rq.slice_end_ns = Some(40);
    assert_eq!(rq.next_event_ns(&table), Some(40));
}

#[test]
fn the_table_fills_up_and_names_go_stale() {
    let table = Box::new(Table::new());
    let first = table.claim().unwrap();
    assert_eq!(first.index(), MAX_CPUS, "the idle threads' slots are not given away");
    let old = table.publish(first, Life::Joinable);
    assert!(table.lookup(old).is_some());
    let others = core::iter::from_fn(|| table.claim()).count();
    assert_eq!(others, MAX_THREADS - MAX_CPUS - 1);
    table.release(first);
    assert!(table.lookup(old).is_none());
    assert_eq!(table.claim(), Some(first));
    assert!(table.lookup(old).is_none(), "a claimed slot has no name yet");
    let new = table.publish(first, Life::Joinable);
    assert!(new != old && table.lookup(old).is_none() && table.lookup(new).is_some());
}
