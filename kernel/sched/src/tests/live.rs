//! Whole machines of host threads. A lost wake-up shows as a machine whose CPUs all idle.

use super::host::{Host, Machine, boot};
use crate::{CpuSet, JoinError, SLICE_NS, Spec, Stopped, Targets, Waited};
use abi::CpuId;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::boxed::Box;
use std::sync::Mutex;
use std::vec::Vec;
use sync::{Cpu, WaitKey};

/// Starts a thread that runs `body`; the box is leaked, as the machine is.
fn start(
    (sched, _): Machine,
    spec: Spec,
    body: impl Fn() -> usize + Send + Sync + 'static,
) -> crate::ThreadId {
    type Body = Box<dyn Fn() -> usize + Send + Sync>;
    static BODIES: Mutex<Vec<&'static Body>> = Mutex::new(Vec::new());
    let argument = {
        let mut bodies = BODIES.lock().unwrap();
        bodies.push(Box::leak(Box::new(Box::new(body) as Body)));
        bodies.len() - 1
    };
    let entry = |argument: usize| {
        let body = BODIES.lock().unwrap()[argument];
        body()
    };
    sched.spawn(spec, entry, argument).unwrap()
}

#[test]
fn a_join_gives_the_result_once() {
    let machine = boot(2);
    let (sched, host) = machine;
    let stacks = host.stacks.load(Ordering::SeqCst);
    let id = sched.spawn(Spec::new("double"), |n| 2 * n, 21).unwrap();
    assert_eq!(sched.join(id), Ok(42));
    assert_eq!(sched.join(id), Err(JoinError::Stale(id)));
    let next = sched.spawn(Spec::new("next"), |n| n, 1).unwrap();
    assert_eq!(next.number(), id.number(), "the slot is free again");
    assert_eq!(sched.join(id), Err(JoinError::Stale(id)));
    assert_eq!(sched.join(next), Ok(1));
    assert_eq!(host.stacks.load(Ordering::SeqCst), stacks);
}

#[test]
fn detached_threads_leave_no_stack_behind() {
    let machine = boot(2);
    let (sched, host) = machine;
    let before = host.stacks.load(Ordering::SeqCst);
    let ended: &'static AtomicUsize = Box::leak(Box::default());
    for _ in 0..8 {
        start(machine, Spec::new("d").detached(), || ended.fetch_add(1, Ordering::SeqCst));
    }
    sched.wait_until(WaitKey(8), 1_000_000, &mut || false);
    while sched.threads().any(|info| info.name.as_str() == "d") {
        let last = sched.spawn(Spec::new("bury"), |_| 0, 0).unwrap();
        assert_eq!(sched.join(last), Ok(0));
    }
    assert_eq!(ended.load(Ordering::SeqCst), 8);
    assert_eq!(host.stacks.load(Ordering::SeqCst), before);
}

#[test]
fn bound_threads_run_on_their_cpu_only() {
    let (sched, _) = boot(3);
    let turns = AtomicUsize::new(0);
    let body = |cpu: CpuId| {
        for _ in 0..200 {
            let id = {
                let _irqs = sched.engine.mask_irqs();
                sched.engine.id()
            };
            assert_eq!(id, cpu);
            turns.fetch_add(1, Ordering::Relaxed);
            sched.yield_now();
        }
    };
    for _ in 0..3 {
        sched.run_on(CpuSet::first_n(3), "bound", &body).unwrap();
    }
    assert_eq!(turns.load(Ordering::Relaxed), 3 * 3 * 200);
}

/// `nr_pairs` pairs of threads that hand a number to and fro.
fn ping_pong(nr_cpus: usize, nr_pairs: usize, rounds: u64) {
    let machine = boot(nr_cpus);
    let (sched, _) = machine;
    let mut ids = Vec::new();
    for pair in 0..nr_pairs {
        let ball: &'static AtomicU64 = Box::leak(Box::default());
        for side in 0..2 {
            let body = move || {
                let key = WaitKey::of(ball);
                for round in 0..rounds {
                    let turn = 2 * round + side;
                    sched.wait(key, &mut || ball.load(Ordering::Relaxed) == turn);
                    ball.store(turn + 1, Ordering::Relaxed);
                    sched.wake(key);
                }
                0
            };
            let spec = Spec::new("player");
            let spec = if pair % 2 == 0 { spec } else { spec.on(CpuId(side as u16)) };
            ids.push(start(machine, spec, body));
        }
    }
    for id in ids {
        assert_eq!(sched.join(id), Ok(0));
    }
}

#[test]
fn no_wake_up_is_lost_between_two_cpus() {
    ping_pong(2, 2, 300);
}

#[test]
fn no_wake_up_is_lost_with_more_threads_than_cpus() {
    ping_pong(3, 6, 80);
}

#[test]
fn one_wake_reaches_every_waiter() {
    let machine = boot(2);
    let (sched, _) = machine;
    let here: &'static AtomicUsize = Box::leak(Box::default());
    let gate: &'static AtomicUsize = Box::leak(Box::default());
    let key = WaitKey::of(gate);
    let body = move || {
        here.fetch_add(1, Ordering::SeqCst);
        sched.wait(key, &mut || gate.load(Ordering::Relaxed) == 1);
        0
    };
    // More than are taken out of a bucket at a time.
    let ids: Vec<_> = (0..40).map(|_| start(machine, Spec::new("waiter"), body)).collect();
    while here.load(Ordering::SeqCst) < 40 {
        sched.yield_now();
    }
    gate.store(1, Ordering::Relaxed);
    sched.wake(key);
    for id in ids {
        assert_eq!(sched.join(id), Ok(0));
    }
}

#[test]
fn the_sleeping_lock_excludes() {
    let machine = boot(3);
    let (sched, _) = machine;
    let lock: &'static sync::Mutex<(u64, u64)> = Box::leak(Box::new(sync::Mutex::new((0, 0))));
    let ids: Vec<_> = (0..6)
        .map(|n| {
            start(machine, Spec::new("mutex"), move || {
                for _ in 0..60 {
                    let mut pair = lock.lock(&sched.engine);
                    assert_eq!(pair.0, pair.1);
                    if n % 2 == 0 {
                        pair.0 += 1;
                        sched.yield_now();
                        pair.1 += 1;
                    }
                }
                0
            })
        })
        .collect();
    for id in ids {
        assert_eq!(sched.join(id), Ok(0));
    }
    assert_eq!(*lock.lock(&sched.engine), (180, 180));
}

#[test]
fn sleepers_rise_in_order_and_never_early() {
    let machine = boot(2);
    let (sched, _) = machine;
    let risen: &'static Mutex<Vec<u64>> = Box::leak(Box::default());
    let base = sched.now_ns() + SLICE_NS;
    let ids: Vec<_> = [5, 1, 4, 2, 3]
        .map(|n| {
            let deadline = base + n * SLICE_NS;
            start(machine, Spec::new("sleeper").on(CpuId(1)), move || {
                sched.sleep_until(deadline);
                assert!(sched.now_ns() >= deadline);
                risen.lock().unwrap().push(n);
                0
            })
        })
        .into();
    for id in ids {
        assert_eq!(sched.join(id), Ok(0));
    }
    assert_eq!(*risen.lock().unwrap(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_wait_with_a_deadline_ends_by_whichever_comes_first() {
    let machine = boot(2);
    let (sched, host) = machine;
    let flag: &'static AtomicUsize = Box::leak(Box::default());
    let key = WaitKey::of(flag);
    let soon = sched.now_ns() + SLICE_NS;
    assert_eq!(sched.wait_until(key, soon, &mut || false), Waited::TimedOut);
    assert!(sched.now_ns() >= soon);
    let setter = start(machine, Spec::new("setter"), move || {
        flag.store(1, Ordering::Relaxed);
        sched.wake(key);
        0
    });
    let late = sched.now_ns() + 1_000_000 * SLICE_NS;
    let ready = &mut || flag.load(Ordering::Relaxed) == 1;
    assert_eq!(sched.wait_until(key, late, ready), Waited::Ready);
    assert_eq!(sched.join(setter), Ok(0));
    assert!(sched.now_ns() < late && host.timer() != Some(late), "its timer is gone with it");
}

#[test]
fn a_thread_that_never_yields_is_preempted() {
    let machine = boot(1);
    let (sched, _) = machine;
    let flag: &'static AtomicUsize = Box::leak(Box::default());
    let spinner = start(machine, Spec::new("spinner"), || {
        while flag.load(Ordering::Relaxed) == 0 {
            sched.engine.relax();
        }
        7
    });
    let setter = start(machine, Spec::new("setter"), || flag.swap(1, Ordering::Relaxed));
    assert_eq!(sched.join(spinner), Ok(7));
    assert_eq!(sched.join(setter), Ok(0));
}

#[test]
fn an_idle_cpu_takes_what_another_has_too_much_of() {
    let machine = boot(2);
    let (sched, _) = machine;
    let met: &'static AtomicUsize = Box::leak(Box::default());
    // They meet only if both run at once; the boot thread keeps CPU 0 busy with neither.
    let ids: Vec<_> = (0..2)
        .map(|_| {
            start(machine, Spec::new("meet"), || {
                met.fetch_add(1, Ordering::SeqCst);
                let _irqs = sched.engine.mask_irqs();
                while met.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
                0
            })
        })
        .collect();
    for id in ids {
        assert_eq!(sched.join(id), Ok(0));
    }
}

fn check_space((sched, host): (&crate::Scheduler<super::host::Handle>, &Host), word: usize) {
    let _irqs = sched.engine.mask_irqs();
    assert_eq!(host.loaded_space(), word);
}

#[test]
fn each_thread_runs_in_its_own_address_space() {
    let machine = boot(2);
    let (sched, host) = machine;
    let ids: Vec<_> = (1..=4)
        .map(|word| {
            start(machine, Spec::new("space"), move || {
                check_space((sched, host), 0);
                assert_eq!(sched.set_space(word), 0);
                for _ in 0..100 {
                    check_space((sched, host), word);
                    sched.yield_now();
                }
                assert_eq!(sched.space(), word);
                assert_eq!(sched.set_space(0), word);
                0
            })
        })
        .collect();
    for id in ids {
        assert_eq!(sched.join(id), Ok(0));
    }
    check_space((sched, host), 0);
}

#[test]
fn a_cross_call_runs_once_on_each_target_and_is_over_at_the_return() {
    let (sched, _) = boot(3);
    let runs: [AtomicUsize; 3] = Default::default();
    let count = |cpu: CpuId| {
        assert_eq!(sched.engine.id(), cpu);
        runs[cpu.index()].fetch_add(1, Ordering::Relaxed);
    };
    let seen = || runs.each_ref().map(|n| n.load(Ordering::Relaxed));
    sched.cross_call(Targets::Others, &count);
    assert_eq!(seen(), [0, 1, 1]);
    sched.cross_call(Targets::All, &count);
    assert_eq!(seen(), [1, 2, 2]);
    sched.cross_call(Targets::Set(CpuSet::only(CpuId(2)).with(CpuId(9))), &count);
    assert_eq!(seen(), [1, 2, 3]);
}

#[test]
fn cpus_that_call_each_other_do_not_wait_in_a_circle() {
    let (sched, _) = boot(3);
    let calls = AtomicUsize::new(0);
    let body = |_: CpuId| {
        for _ in 0..50 {
            sched.cross_call(Targets::Others, &|_| {
                calls.fetch_add(1, Ordering::Relaxed);
            });
        }
    };
    sched.run_on(sched.online(), "caller", &body).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 3 * 50 * 2);
}

#[test]
fn the_dying_cpu_silences_the_others() {
    let (sched, _) = boot(3);
    let Stopped::First { running } = sched.stop_others(u64::MAX) else {
        panic!("nobody else dies")
    };
    assert_eq!(running, CpuSet::EMPTY);
}
