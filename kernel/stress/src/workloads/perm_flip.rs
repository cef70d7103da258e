//! `perm-flip`: each CPU gives its kernel memory other rights, again and again, while the others try what they can do
//! there; now and then it is code, and is run.
//!
//! Hunted: a store that gets through after a change to read-only has returned, an access to what is closed, a load that
//! faults where loading is permitted; memory that comes back with the rights of its last owner; instructions that are
//! not those that were written last.
//!
//! # Who may judge
//! What an area permits stands in one word that its owner writes after a change has returned, with a count. Who reads the
//! same word before and after an access knows that the rights held meanwhile. Whoever looks is counted, and an area goes
//! back, or ceases to be code, only when nobody does.

use crate::failure::Refusal;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, PAGE_SIZE, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use mm::vmalloc::permission::{PermissionError, Rights};
use mm::vmalloc::{Area, Backing};

/// Pages of an area.
const PAGES: u64 = 3;
/// Where in a page its stamp is, where anybody may store, and where its code is.
///
/// The code is in the first KiB: QEMU's raspi4b (10.0), whose own pages are of 1 KiB, forgets by a TLBI of a page what it
/// has translated to run of that part of it alone; behind it the code of the frame that was there before ran on.
const STAMP: u64 = 0;
const ANYBODYS: u64 = PAGE_SIZE / 2;
const CODE: u64 = 1024 - 8;

const ALL: [Rights; 4] = [Rights::ReadWrite, Rights::Read, Rights::ReadExec, Rights::None];
/// In the word: the rights' number, whether they are being changed, how often they were, and the address without its
/// upper half's bits.
const RIGHTS: u64 = 3;
const CHANGING: u64 = 1 << 2;
const ONCE: u64 = 1 << 48;
const ADDRESS: u64 = ONCE - PAGE_SIZE;

/// What is known of one CPU's area.
#[derive(Default)]
struct Seat {
    word: AtomicU64,
    lookers: AtomicU64,
}

impl Seat {
    fn set(&self, at: VirtAddr, flags: u64) {
        let count = self.word.load(SeqCst) & !(ONCE - 1);
        self.word.store(count.wrapping_add(ONCE) | at.0 & ADDRESS | flags, SeqCst);
    }

    /// Nobody looks who came before; whoever does looks to the end, also when the run stops.
    fn wait<W: World>(&self, run: &Run<'_, W>) {
        while self.lookers.load(SeqCst) > 0 {
            run.world.yield_now();
        }
    }
}

/// A CPU's own.
struct Own {
    area: Area,
    rights: Rights,
    version: u16,
}

/// Instructions: `mov w0, #number`, and `ret`.
const fn code(number: u16) -> u64 {
    0xd65f_03c0 << 32 | 0x5280_0000 | (number as u64) << 5
}

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let seats = super::list_of(run.options.cpus as u64, |_| Ok(Seat::default()))?;
    run.on_cpus(watch, |cpu, rng| {
        let mut flipper = Flipper { run, cpu, seats: &seats, own: None };
        let mut round = 0;
        let mut result = Ok(());
        while result.is_ok() && run.goes_on(round) {
            result = flipper.turn(rng, round as u16);
            round += 1;
        }
        flipper.give_up();
        result
    })
}

struct Flipper<'r, 'w, W: World> {
    run: &'r Run<'w, W>,
    cpu: usize,
    seats: &'r [Seat],
    own: Option<Own>,
}

impl<W: World> Flipper<'_, '_, W> {
    fn turn(&mut self, rng: &mut Rng, round: u16) -> Result<(), Failure> {
        if self.own.is_none() || rng.one_in(8) {
            self.give_up();
            self.take(rng, round)?;
        }
        let rights = ALL[rng.below(ALL.len() as u64) as usize];
        self.flip(rights, round)?;
        for _ in 0..4 {
            self.look(rng.below(self.seats.len() as u64) as usize, rng.below(PAGES))?;
        }
        self.run.did(1);
        Ok(())
    }

    const fn seat(&self) -> &Seat {
        &self.seats[self.cpu]
    }

    fn take(&mut self, rng: &mut Rng, version: u16) -> Result<(), Failure> {
        // Of the one kind the CPUs may refuse each change, where the linear map is made of blocks.
        let backing = if rng.one_in(4) { Backing::Pages } else { Backing::Parted };
        let area = self.run.mm().vmalloc(PAGES * PAGE_SIZE, backing)?;
        let start = area.range().start;
        self.own = Some(Own { area, rights: Rights::ReadWrite, version });
        self.write(version)?;
        self.seat().set(start, number(Rights::ReadWrite));
        Ok(())
    }

    fn give_up(&mut self) {
        if let Some(own) = self.own.take() {
            self.seat().word.fetch_and(!(ONCE - 1), SeqCst);
            self.seat().wait(self.run);
            self.run.mm().vfree(own.area);
        }
    }

    fn pages(&self) -> impl Iterator<Item = VirtAddr> + use<W> {
        let range = self.own.as_ref().map(|own| own.area.range());
        let range = range.unwrap_or(VirtRange::new(VirtAddr(0), VirtAddr(0)));
        (0..range.pages()).map(move |n| range.start + n * PAGE_SIZE)
    }

    /// New content in each page; it can be written.
    fn write(&mut self, version: u16) -> Result<(), Failure> {
        for at in self.pages() {
            let stamp = Stamp::new(self.cpu as u8, at, version).word();
            for (offset, word) in [(STAMP, stamp), (CODE, code(version))] {
                if !self.run.world.kernel_store(at + offset, word) {
                    return Err(self.faults(at + offset, word));
                }
            }
        }
        if let Some(own) = &mut self.own {
            own.version = version;
        }
        Ok(())
    }

    fn flip(&mut self, rights: Rights, round: u16) -> Result<(), Failure> {
        let Some(own) = &mut self.own else { return Ok(()) };
        let range = own.area.range();
        let seat = &self.seats[self.cpu];
        seat.set(range.start, number(own.rights) | CHANGING);
        if own.rights == Rights::ReadExec {
            seat.wait(self.run);
        }
        match self.run.mm().set_memory(&mut own.area, range, rights) {
            Ok(()) => own.rights = rights,
            // Then all is as it was: whoever looks sees to that.
            Err(PermissionError::Linear(..) | PermissionError::OutOfMemory(_)) => {}
            Err(error) => return Err(Failure::Refused(Refusal::Permission(error))),
        }
        let (now, version) = (own.rights, own.version);
        if now == Rights::ReadWrite {
            self.write(round)?;
        } else if now == Rights::None {
            self.try_aliases()?;
        } else {
            let mut pages = self.pages().map(|at| (at, Stamp::new(self.cpu as u8, at, version)));
            let wrong = pages.find_map(|(at, stamp)| {
                let found = self.run.world.kernel_try(at + STAMP, None);
                let (cpu, va, expected) = (self.cpu, at + STAMP, stamp.word());
                (found != Some(expected)).then_some(Failure::Kernel { cpu, va, expected, found })
            });
            if let Some(failure) = wrong {
                return Err(failure);
            }
        }
        self.seat().set(range.start, number(now));
        Ok(())
    }

    /// What is closed is closed by the frames' other addresses too.
    fn try_aliases(&self) -> Result<(), Failure> {
        let (mm, world) = (self.run.mm(), self.run.world);
        let alias = |at| mm.vmalloc_frame(at).and_then(|pfn| mm.linear_address(pfn));
        let open = self.pages().filter_map(alias).find(|at| world.kernel_try(*at, None).is_some());
        open.map_or(Ok(()), |at| Err(self.not_denied(at, Access::Read)))
    }

    /// Tries what can be done with a page of somebody's.
    fn look(&self, whose: usize, page: u64) -> Result<(), Failure> {
        let seat = &self.seats[whose];
        seat.lookers.fetch_add(1, SeqCst);
        let result = self.look_at(seat, page);
        seat.lookers.fetch_sub(1, SeqCst);
        result
    }

    fn look_at(&self, seat: &Seat, page: u64) -> Result<(), Failure> {
        let word = seat.word.load(SeqCst);
        if word & ADDRESS == 0 {
            return Ok(());
        }
        let at = VirtAddr(word & ADDRESS | !(ONCE - 1)) + page * PAGE_SIZE;
        let rights = ALL[(word & RIGHTS) as usize];
        let world = self.run.world;
        if rights == Rights::ReadExec && word & CHANGING == 0 {
            return self.call(at);
        }
        let loaded = world.kernel_try(at + ANYBODYS, None);
        let stored = world.kernel_try(at + ANYBODYS, Some(word));
        if word & CHANGING != 0 || seat.word.load(SeqCst) != word {
            return Ok(());
        }
        let wanted = [rights != Rights::None, rights == Rights::ReadWrite];
        let checks = [(loaded, Access::Read), (stored, Access::Write)];
        for ((done, access), wanted) in checks.into_iter().zip(wanted) {
            match (done, wanted) {
                (None, true) => return Err(self.faults(at + ANYBODYS, word)),
                (Some(_), false) => return Err(self.not_denied(at + ANYBODYS, access)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs what is written in a page, which stays code meanwhile; it cannot be written.
    fn call(&self, page: VirtAddr) -> Result<(), Failure> {
        let world = self.run.world;
        if world.kernel_try(page + ANYBODYS, Some(0)).is_some() {
            return Err(self.not_denied(page + ANYBODYS, Access::Write));
        }
        let at = page + CODE;
        let Some(expected) = world.kernel_try(at, None) else { return Err(self.faults(at, 0)) };
        self.run.mm().meet_code();
        match world.kernel_call(at) {
            Some(number) if code(number as u16) == expected => Ok(()),
            found => Err(Failure::Kernel { cpu: self.cpu, va: at, expected, found }),
        }
    }

    fn faults(&self, va: VirtAddr, expected: u64) -> Failure {
        Failure::Kernel { cpu: self.cpu, va, expected, found: None }
    }

    fn not_denied(&self, va: VirtAddr, access: Access) -> Failure {
        Failure::WrongOutcome { cpu: self.cpu, va, access, outcome: None, walk: [0; 4] }
    }
}

/// Which of [`ALL`] it is.
const fn number(rights: Rights) -> u64 {
    match rights {
        Rights::ReadWrite => 0,
        Rights::Read => 1,
        Rights::ReadExec => 2,
        Rights::None => 3,
    }
}
