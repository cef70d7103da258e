//! `mprotect-shootdown`: rights are taken from blocks and parts of blocks, and given back, while all CPUs
//! write there and read.
//!
//! Hunted: a translation that permits more than the entry does any more, on some CPU, after the change has
//! returned; a change that forgets a part of a huge page, or takes more than it should; a change that loses
//! what was written meanwhile. A store would succeed where nobody may write, or be denied where all may, or
//! a page would show an older version.

use super::field::{BLOCK, Field};
use super::list_of;
use crate::rng::Rng;
use crate::run::{Failure, Run, WORDS};
use crate::world::World;
use abi::{Access, PAGE_SIZE, Prot, VirtRange};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use mm::{Denial, FaultOutcome};

/// The space's number in stamps.
const OURS: u8 = 10;

/// What is denied in a block, as its last changer says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ban {
    /// Changes so far; odd while one is under way.
    turn: u32,
    /// The pages of the block with fewer rights: from `first` to before `end`.
    first: u16,
    end: u16,
    /// Whether reading is denied as well.
    reading: bool,
}

impl Ban {
    const fn word(self) -> u64 {
        let pages = (self.first as u64) << 10 | self.end as u64;
        (self.turn as u64) << 32 | pages << 1 | self.reading as u64
    }

    const fn from_word(word: u64) -> Self {
        let pages = (word >> 1) as u32 & 0xf_ffff;
        let (first, end) = ((pages >> 10) as u16, (pages & 0x3ff) as u16);
        Self { turn: (word >> 32) as u32, first, end, reading: word & 1 != 0 }
    }

    fn denies(self, page: u64, access: Access) -> bool {
        let inside = (u64::from(self.first)..u64::from(self.end)).contains(&(page % BLOCK));
        inside && (self.reading || access == Access::Write)
    }
}

/// The bans of all blocks.
struct Bans(Vec<AtomicU64>);

impl Bans {
    /// The ban in the block of `page`; `None`: it is just being changed.
    fn of(&self, page: u64) -> Option<Ban> {
        fence(Ordering::SeqCst);
        let ban = Ban::from_word(self.0[(page / BLOCK) as usize].load(Ordering::SeqCst));
        ban.turn.is_multiple_of(2).then_some(ban)
    }
}

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    let bans = Bans(list_of(field.range.pages() / BLOCK, |_| Ok(AtomicU64::new(0)))?);
    field.drive(run, watch, |cpu, rng| {
        let page = field.any(rng);
        if rng.one_in(4) {
            change(run, &field, &bans, cpu, page, rng)?;
            run.did(1);
        }
        field.visit(page, || {
            for _ in 0..rng.below(16) {
                let own = field.own(page, cpu, rng);
                write(run, &field, &bans, cpu, own)?;
                read(run, &field, &bans, cpu, field.near(page, rng))?;
            }
            Ok(())
        })
    })
}

/// Ends the ban in a block if there is one, and begins one if there is none, or makes the block new, as it
/// is in pieces after the first ban of a part; unless somebody is at it.
fn change<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    bans: &Bans,
    cpu: usize,
    page: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let Some(old) = bans.of(page) else { return Ok(()) };
    let word = &bans.0[(page / BLOCK) as usize];
    let busy = Ban { turn: old.turn.wrapping_add(1), ..old };
    let (order, failed) = (Ordering::SeqCst, Ordering::Relaxed);
    if word.compare_exchange(old.word(), busy.word(), order, failed).is_err() {
        return Ok(());
    }
    let mut new = Ban { turn: old.turn.wrapping_add(2), first: 0, end: 0, reading: false };
    let (mut ban, mut prot) = (old, Prot::ReadWrite);
    if old.first == old.end && rng.one_in(4) {
        field.renew(run, cpu, field.own(page, cpu, rng), rng)?;
        word.store(new.word(), Ordering::SeqCst);
        return Ok(());
    }
    if old.first == old.end {
        let first = if rng.one_in(2) { 0 } else { rng.below(BLOCK) };
        let end = if rng.one_in(2) { BLOCK } else { first + 1 + rng.below(BLOCK - first) };
        (new.first, new.end, new.reading) = (first as u16, end as u16, rng.one_in(4));
        (ban, prot) = (new, if new.reading { Prot::None } else { Prot::Read });
    }
    let start = field.block_of(page).start + u64::from(ban.first) * PAGE_SIZE;
    let range = VirtRange::from_size(start, u64::from(ban.end - ban.first) * PAGE_SIZE);
    field.space.protect(range, prot)?;
    word.store(new.word(), Ordering::SeqCst);
    Ok(())
}

/// What an access came to, if it agrees with the ban, or the ban changed meanwhile.
fn agree<W: World, T>(
    run: &Run<'_, W>,
    (field, bans): (&Field<'_, W::Machine>, &Bans),
    (cpu, page, access): (usize, u64, Access),
    attempt: impl FnOnce() -> Result<T, FaultOutcome>,
) -> Result<Option<T>, Failure> {
    let before = bans.of(page);
    let outcome = attempt();
    let steady = before.filter(|_| bans.of(page) == before);
    let (space, va) = (&field.space, field.at(page));
    match (outcome, steady.map(|ban| ban.denies(page, access))) {
        (Ok(_), Some(true)) => Err(run.not_denied(space, cpu, va, access)),
        (Ok(value), _) => Ok(Some(value)),
        (Err(FaultOutcome::Denied(Denial::Rights(_))), None | Some(true)) => Ok(None),
        (Err(outcome), _) => Err(run.wrong_outcome(space, cpu, va, access, Some(outcome))),
    }
}

/// Writes the next version of a page of `cpu`'s own, as far as that is permitted.
fn write<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    bans: &Bans,
    cpu: usize,
    page: u64,
) -> Result<(), Failure> {
    let version = field.ledger.begin(page);
    let word = field.stamp(page, version).word();
    for offset in WORDS {
        let attempt = || run.world.store(&field.space, field.at(page) + offset, word);
        if agree(run, (field, bans), (cpu, page, Access::Write), attempt)?.is_none() {
            return Ok(());
        }
    }
    field.ledger.finish(page, version);
    run.did(1);
    Ok(())
}

/// Reads a page, if that is permitted.
fn read<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    bans: &Bans,
    cpu: usize,
    page: u64,
) -> Result<(), Failure> {
    let entry = field.ledger.before(page);
    let attempt = || run.world.load(&field.space, field.at(page));
    match agree(run, (field, bans), (cpu, page, Access::Read), attempt)? {
        Some(word) => field.judge(run, (&field.space, cpu), (page, entry), word),
        None => Ok(()),
    }
}
