//! The bookkeeping, step by step: placement, time slices, and every order of a wait and a wake.

use super::recorder::{Recorded, boot};
use crate::scheduler::Leave;
use crate::thread::Slot;
use crate::{Affinity, Fate, JoinError, Name, SLICE_NS, Sgi, SpawnError, Spec, State, ThreadId};
use abi::CpuId;
use proptest::prelude::*;
use std::vec::Vec;
use sync::WaitKey;

const NR_CPUS: u16 = 3;

fn spec(affinity: Affinity) -> Spec {
    Spec { name: Name::new("t"), affinity, fate: Fate::Joined }
}

fn spawn((sched, _): Recorded, affinity: Affinity) -> ThreadId {
    sched.spawn(spec(affinity), |_| 0, 0).unwrap()
}

/// What the idle loop does when an interrupt has ended its wait.
fn idle_turn((sched, recorder): Recorded, cpu: CpuId) {
    recorder.play(cpu);
    if sched.cpus[cpu.index()].current() == Slot::idle(cpu) {
        sched.idle.remove(cpu);
        sched.find_work(cpu);
        sched.switch_away(Leave::Turn);
        if sched.cpus[cpu.index()].current() == Slot::idle(cpu) {
            sched.idle.insert(cpu);
        }
    }
}

/// Delivers interrupts until none is under way.
fn settle(machine: Recorded) {
    let (sched, recorder) = machine;
    loop {
        let sent = recorder.take_sent();
        if sent.is_empty() {
            return;
        }
        for (cpu, sgi) in sent {
            assert_eq!(sgi, Sgi::Reschedule);
            recorder.play(cpu);
            sched.on_irq_reschedule();
            idle_turn(machine, cpu);
        }
    }
}

/// Lets the current thread of `cpu` leave, and the CPU idle if it has no other.
fn leave(machine: Recorded, cpu: CpuId, how: Leave) {
    let (sched, recorder) = machine;
    recorder.play(cpu);
    let me = sched.cpus[cpu.index()].current();
    if me.is_idle() {
        return;
    }
    if how == Leave::Block {
        sched.begin_block(me, u64::MAX);
    }
    sched.switch_away(how);
    idle_turn(machine, cpu);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Spawn(Affinity),
    Yield(CpuId),
    Block(CpuId),
    Wake(CpuId, usize),
    Tick(CpuId),
}

fn cpu() -> impl Strategy<Value = CpuId> {
    (0..NR_CPUS).prop_map(CpuId)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        prop_oneof![Just(Affinity::Any), cpu().prop_map(Affinity::Cpu)].prop_map(Op::Spawn),
        cpu().prop_map(Op::Yield),
        cpu().prop_map(Op::Block),
        (cpu(), 0usize..16).prop_map(|(cpu, n)| Op::Wake(cpu, n)),
        cpu().prop_map(Op::Tick),
    ]
}

fn check((sched, recorder): Recorded, threads: &[ThreadId]) {
    let cpus = || (0..NR_CPUS).map(CpuId);
    let of = |state| {
        let has = move |id: &&ThreadId| sched.table.thread(Slot(id.slot)).state() == state;
        threads.iter().filter(has).count()
    };
    let queued: usize =
        cpus().map(|c| sched.cpus[c.index()].lock.lock(&sched.engine).nr_ready()).sum();
    assert_eq!(queued, of(State::Ready), "ready is being in one queue");
    let busy: Vec<CpuId> = cpus().filter(|c| !sched.cpus[c.index()].current().is_idle()).collect();
    assert_eq!(busy.len(), of(State::Running), "running is being current");
    for id in threads {
        let thread = sched.table.thread(Slot(id.slot));
        if let Affinity::Cpu(cpu) = thread.affinity() {
            assert_eq!(thread.home(), cpu, "bound is bound");
        }
    }
    for cpu in cpus() {
        let queue = &sched.cpus[cpu.index()];
        let is_busy = busy.contains(&cpu);
        assert!(is_busy || !queue.has_ready(), "CPU {cpu} idles before its own queue");
        assert!(busy.len() == NR_CPUS as usize || !queue.has_movable(), "work for an idle CPU");
        let ticks = recorder.timer(cpu).is_some();
        assert!(ticks || !queue.has_ready(), "CPU {cpu} never ends a slice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nobody_is_lost_doubled_moved_or_starved(ops in prop::collection::vec(op(), 1..60)) {
        let machine = boot(NR_CPUS);
        let (sched, recorder) = machine;
        let mut threads = std::vec![sched.current().unwrap()];
        for op in ops {
            match op {
                Op::Spawn(_) if threads.len() >= 16 => {}
                Op::Spawn(affinity) => {
                    recorder.play(CpuId(0));
                    threads.push(spawn(machine, affinity));
                    idle_turn(machine, CpuId(0));
                }
                Op::Yield(cpu) => leave(machine, cpu, Leave::Turn),
                Op::Block(cpu) => leave(machine, cpu, Leave::Block),
                Op::Wake(cpu, n) => {
                    recorder.play(cpu);
                    sched.wake_thread(Slot(threads[n % threads.len()].slot));
                    idle_turn(machine, cpu);
                }
                Op::Tick(cpu) => {
                    recorder.play(cpu);
                    recorder.advance(SLICE_NS);
                    sched.on_tick();
                    sched.preempt_point();
                    idle_turn(machine, cpu);
                }
            }
            settle(machine);
            check(machine, &threads);
        }
        // Whoever is awake gets a turn, by slices alone.
        for id in &threads {
            recorder.play(CpuId(0));
            sched.wake_thread(Slot(id.slot));
            idle_turn(machine, CpuId(0));
            settle(machine);
        }
        let turns = |id: &ThreadId| {
            let info = sched.threads().find(|info| info.id == *id).unwrap();
            info.switches + u64::from(info.state == State::Running)
        };
        for _ in &threads {
            recorder.advance(SLICE_NS);
            for cpu in (0..NR_CPUS).map(CpuId) {
                recorder.play(cpu);
                sched.on_tick();
                sched.preempt_point();
                settle(machine);
            }
        }
        prop_assert!(threads.iter().all(|id| turns(id) > 0));
    }
}

#[test]
fn every_order_of_a_wait_and_a_wake_ends_awake() {
    // The waiter's four steps and the waker's three, in each of the 35 orders: a bit per step, set
    // where the waker moves.
    for order in (0u32..1 << 7).filter(|order| order.count_ones() == 3) {
        let machine = boot(2);
        let (sched, recorder) = machine;
        let waiter = Slot(sched.spawn(Spec::new("w").on(CpuId(1)), |_| 0, 0).unwrap().slot);
        settle(machine);
        assert_eq!(sched.cpus[1].current(), waiter);
        let key = WaitKey(0x1000);
        let (mut flag, mut sees_flag, mut has_waiters) = (false, false, false);
        let (mut waiter_step, mut waker_step) = (0, 0);
        for n in 0..7 {
            if order & 1 << n == 0 {
                recorder.play(CpuId(1));
                match waiter_step {
                    0 => sched.begin_block(waiter, u64::MAX),
                    1 => sched.waits.enter(&sched.engine, &sched.table, key, waiter),
                    2 => sees_flag = flag,
                    _ if sees_flag => sched.cancel_block(waiter),
                    _ => sched.switch_away(Leave::Block),
                }
                waiter_step += 1;
            } else {
                recorder.play(CpuId(0));
                match waker_step {
                    0 => flag = true,
                    1 => has_waiters = sched.waits.has_waiters(key),
                    _ if has_waiters => sched.wake(key),
                    _ => {}
                }
                waker_step += 1;
            }
        }
        let state = sched.table.thread(waiter).state();
        assert_ne!(state, State::Blocked, "asleep for ever after order {order:07b}");
    }
}

#[test]
fn one_thread_hears_no_tick_and_two_do() {
    let machine = boot(1);
    let (sched, recorder) = machine;
    assert_eq!(recorder.timer(CpuId(0)), None);
    recorder.advance(5);
    let other = spawn(machine, Affinity::Any);
    assert_eq!(recorder.timer(CpuId(0)), Some(5 + SLICE_NS));
    recorder.advance(SLICE_NS);
    sched.on_tick();
    sched.preempt_point();
    assert_eq!(sched.current(), Some(other));
    assert_eq!(recorder.timer(CpuId(0)), Some(5 + 2 * SLICE_NS));
    sched.begin_block(Slot(other.slot), u64::MAX);
    sched.switch_away(Leave::Block);
    assert_eq!(recorder.timer(CpuId(0)), None, "alone again");
}

#[test]
fn new_threads_go_to_the_least_loaded_cpu_with_the_lowest_id() {
    let machine = boot(NR_CPUS);
    let homes: Vec<u16> = (0..5)
        .map(|_| machine.0.table.thread(Slot(spawn(machine, Affinity::Any).slot)).home().0)
        .collect();
    assert_eq!(homes, [1, 2, 0, 1, 2], "CPU 0 runs the boot thread");
}

#[test]
fn a_thread_queued_behind_another_calls_an_idle_cpu_which_takes_it() {
    let machine = boot(2);
    let (sched, recorder) = machine;
    let slot = sched.make(spec(Affinity::Any), (|_| 0, 0)).unwrap();
    sched.table.publish(slot, crate::thread::Life::Joinable);
    sched.enqueue(slot, CpuId(0));
    assert_eq!(recorder.take_sent(), [(CpuId(1), Sgi::Reschedule)]);
    idle_turn(machine, CpuId(1));
    assert_eq!(sched.cpus[1].current(), slot);
    assert_eq!(sched.table.thread(slot).home(), CpuId(1));
}

#[test]
fn a_wake_of_nobody_disturbs_nobody() {
    let (sched, recorder) = boot(2);
    sched.wake(WaitKey(0x1000));
    assert!(recorder.take_sent().is_empty());
}

#[test]
fn what_cannot_be_had_is_an_error_that_says_why() {
    let (sched, recorder) = boot(2);
    let offline = Spec::new("t").on(CpuId(2));
    assert_eq!(sched.spawn(offline, |_| 0, 0), Err(SpawnError::Offline(CpuId(2))));
    let absurd = Spec::new("t").on(CpuId(u16::MAX));
    assert_eq!(sched.spawn(absurd, |_| 0, 0), Err(SpawnError::Offline(CpuId(u16::MAX))));
    let boot_thread = sched.current().unwrap();
    assert_eq!(sched.join(boot_thread), Err(JoinError::Itself(boot_thread)));
    let detached = sched.spawn(Spec::new("t").detached(), |_| 0, 0).unwrap();
    assert_eq!(sched.join(detached), Err(JoinError::NotJoinable(detached)));
    recorder.run_out_of_memory();
    let before = sched.threads().count();
    assert_eq!(sched.spawn(Spec::new("t"), |_| 0, 0), Err(SpawnError::NoStack));
    assert_eq!(sched.threads().count(), before, "a failed spawn leaves nothing");
    assert_eq!(sched.run_on(sched.online(), "t", &|_| {}), Err(SpawnError::NoStack));
    assert_eq!(sched.threads().count(), before);
}

#[test]
fn a_death_under_a_run_queues_lock_can_still_be_reported() {
    let machine = boot(2);
    let (sched, recorder) = machine;
    let waiter = Slot(spawn(machine, Affinity::Any).slot);
    let key = WaitKey(0x1000);
    sched.waits.enter(&sched.engine, &sched.table, key, waiter);
    // Locks that their dead holders never release.
    for cpu in &sched.cpus[..2] {
        core::mem::forget(cpu.lock.lock(&sched.engine));
    }
    recorder.take_sent();
    assert!(
        matches!(sched.stop_others(0), crate::Stopped::First { running } if running.len() == 1)
    );
    assert_eq!(recorder.take_sent(), [(CpuId(1), Sgi::Stop)]);
    sched.wake(key);
    sched.yield_now();
    sched.on_tick();
    sched.preempt_point();
    sched.wait(key, &mut || true);
    assert!(sched.current().is_some());
    assert_eq!(sched.threads().count(), 3);
    assert_eq!(sched.stop_others(0), crate::Stopped::Again);
    recorder.play(CpuId(1));
    assert_eq!(sched.stop_others(0), crate::Stopped::Late { by: CpuId(0) });
}
