//! The numbers of spaces, and when CPUs drop what they have under them.

use super::stage::{Kind, PAGES, Scene, judged, kept, page};
use crate::common::machines;
use crate::common::races::misses;
use abi::Event;
use granule_machine::{Config, SimWorld};
use mm::Space;
use mm::mutant::Mutant;
use std::collections::BTreeMap;
use std::sync::Mutex;
use stress::{Rng, World};

/// Spaces that take turns on three CPUs, with so few numbers that generations pass, and programs that read
/// what they wrote.
fn turns(config: Config, mutant: Option<Mutant>) -> Option<String> {
    let world = SimWorld::new(Config { cpus: 3, pages: 2048, ..config });
    let scene = Scene { world, kind: Kind::Small };
    scene.world.mm().arm(mutant);
    scene.world.mm().limit_asids(Some(5));
    judged(&scene, |scene| {
        let world = &scene.world;
        let spaces: Vec<_> = (0..9).map(|_| scene.space()).collect();
        spaces.iter().enumerate().for_each(|(n, space)| scene.write(space, 1000 * n as u64));
        // Who runs under which number.
        let running = Mutex::new(BTreeMap::<u16, Vec<usize>>::new());
        let wrong = Mutex::new(None);
        let body = |cpu: usize| {
            let mut rng = Rng::new(config.seed, "turns", cpu);
            for _ in 0..40 {
                let which = rng.below(spaces.len() as u64) as usize;
                let space = spaces[which];
                world.inside(space, &mut || {
                    let asid = space.asid().map_or(0, |asid| asid.0);
                    let mut now = running.lock().expect("no panic");
                    let here = now.entry(asid).or_default();
                    if asid == 0 || here.iter().any(|other| *other != which) {
                        let text = format!("{asid} is the number of {which} and of {here:?}");
                        wrong.lock().expect("no panic").get_or_insert(text);
                    }
                    here.push(which);
                    drop(now);
                    for n in PAGES {
                        let value = world.load(space, page(n));
                        if value != Ok(1000 * which as u64 + n) {
                            let text = format!("space {which} reads {value:?} in page {n}");
                            wrong.lock().expect("no panic").get_or_insert(text);
                        }
                    }
                    let mut now = running.lock().expect("no panic");
                    let here = now.entry(asid).or_default();
                    if let Some(at) = here.iter().position(|other| *other == which) {
                        here.swap_remove(at);
                    }
                });
            }
        };
        world.run(3, &body, &mut || ());
        let rolled = world.mm().stats.total(Event::AsidRollover);
        let wrong = wrong.into_inner().expect("no panic");
        match wrong {
            Some(what) => Err(what),
            None if rolled < 5 => Err(format!("{rolled} generations show nothing")),
            None => Ok(()),
        }
    })
}

fn seeds(mutant: Option<Mutant>) -> Option<String> {
    (1..24).find_map(|seed| turns(Config { seed, ..machines()[seed as usize % 4] }, mutant))
}

/// Always: spaces that run never share a number in one generation, and 0 is nobody's.
#[test]
fn t14_running_spaces_never_share_a_number() {
    misses(seeds, &[Mutant::RolloverForgetsActive]);
}

/// Always: a CPU drops its TLB before it uses a number of a new generation.
#[test]
fn t15_a_cpu_drops_its_tlb_before_it_uses_a_new_generation() {
    misses(seeds, &[Mutant::RolloverNoFlush]);
}

/// Always: a roll-over keeps the numbers that CPUs are running, on each of them.
#[test]
fn t16_a_rollover_keeps_the_numbers_that_run() {
    let scenario = |mutant| {
        let world = SimWorld::new(Config { cpus: 3, pages: 2048, ..machines()[0] });
        let scene = Scene { world, kind: Kind::Small };
        scene.world.mm().arm(mutant);
        scene.world.mm().limit_asids(Some(5));
        judged(&scene, |scene| {
            let (world, space) = (&scene.world, scene.space());
            let mm = world.mm();
            let on = |cpu, body: &mut dyn FnMut()| mm.hw.on(cpu, body);
            // The space runs on two CPUs throughout; strangers come and go on the third.
            on(0, &mut || space.enter());
            on(1, &mut || space.enter());
            let number = space.asid();
            let roll = || {
                let before = mm.stats.total(Event::AsidRollover);
                while mm.stats.total(Event::AsidRollover) == before {
                    let stranger = kept(Space::new(mm).expect("memory"));
                    on(2, &mut || {
                        stranger.enter();
                        stranger.leave();
                    });
                    if stranger.asid() == number {
                        return Err(format!("{number:?} runs, and is given to somebody else"));
                    }
                }
                Ok(())
            };
            let result = roll().and_then(|()| {
                // One of the two switches, and then goes away for a generation; the other stays.
                let elsewhere = kept(Space::new(mm).expect("memory"));
                on(0, &mut || {
                    space.leave();
                    space.enter();
                    space.leave();
                    elsewhere.enter();
                });
                let result = roll();
                on(0, &mut || elsewhere.leave());
                result
            });
            on(0, &mut || space.enter());
            let kept_it = space.asid() == number;
            on(0, &mut || space.leave());
            on(1, &mut || space.leave());
            result?;
            kept_it.then_some(()).ok_or("its number changed while it ran".into())
        })
    };
    misses(scenario, &[Mutant::RolloverForgetsActive, Mutant::RolloverFirstReserved]);
}
