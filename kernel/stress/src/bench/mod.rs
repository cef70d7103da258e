//! What the memory manager's operations cost, beside what Linux takes and what we want.
//!
//! # What a figure includes
//! An operation is called as a program of this kernel calls it: a function, not a system call. That
//! is a fair advantage of a unikernel, and a real one: an empty system call of Linux takes 443
//! instructions of its figures here. Rows of faults store or load through the CPU's translation, so
//! the exception's entry and return are in them, and so is the routine that survives a refused
//! access; `populate` has no exception. All checks of a normal build are on. Tables that are made or
//! freed on the way count, as they do in Linux's figures.
//!
//! # How it is measured
//! A row is a function that does one round: it prepares, opens *windows* around what is to be
//! measured, and cleans up. Instructions come from the performance monitors, read right at a
//! window's edges; what a window, and a loop's turn in it, take by themselves is measured with
//! nothing inside, taken off and shown. After [`WARM_UP`] rounds come two halves of as many rounds
//! each; halves that differ by more than one part in [`STEADY`] fail the row. Where the emulator
//! counts instructions, everything is exact: two runs print the same.
//!
//! With several CPUs each does the row in a space of its own, and where that makes sense all do it
//! in one space, 16 GiB apart. An emulator that counts exactly has one count for all CPUs, so windows
//! that overlap cannot be told apart; compared is then the whole of it, preparing and cleaning up
//! included, with the whole of one CPU alone: what grows from one to many is waiting for each other.
//! TLB maintenance, barriers and interrupts are counted by who issues them and stay exact.
//!
//! A row of a *series* is about that growth: it is measured with one CPU, two and four. There the time in the windows
//! is what counts, where CPUs run at the same time; where they take turns nobody knows it, or the instructions of one
//! of several, and the table says so.
//!
//! | file | concern |
//! | --- | --- |
//! | `rows` | the table of operations: Linux's figures, the aims, the functions |
//! | `row` | what a row says |
//! | `ops` | the operations |
//! | `seat` | what an operation is given: a space, room, windows |
//! | `table` | one row on all CPUs: seats, rounds, sums |
//! | `meter` | what is counted, and what counting takes |
//! | `figure` | quantities per unit, without floating point |
//! | `result` | a row's outcome, and how it compares |
//! | `report` | the tables for people |
//! | `series` | the table of a series |
//! | `json` | the lines for tools |

mod figure;
mod json;
mod meter;
mod ops;
mod report;
mod result;
mod row;
mod rows;
mod seat;
mod series;
mod table;

pub use figure::Figure;
pub use json::json;
pub use meter::{Meter, Overhead};
pub use report::table;
pub use result::{Measured, Outcome, PROMISE, STEADY, Setting, State, Verdict};
pub use row::{Aim, Linux, Op, Row, Sharing};
pub use rows::{COUNT, all};
pub use seat::Seat;

use crate::report::Census;
use crate::run::Failure;
use crate::world::World;
use table::Table;

/// Rounds before anything counts.
pub const WARM_UP: u64 = 2;

/// What the user chose.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// CPUs at the same time.
    pub cpus: usize,
    /// Rounds of each row instead of its own number; rounded up to an even one.
    pub rounds: Option<u64>,
    /// Bytes of memory to work on, all CPUs together.
    pub bytes: u64,
    /// Whether somebody counts from outside: windows are marked, and nothing is done besides the
    /// operations, neither the bare work of their aims nor finding the overhead.
    pub profile: bool,
}

/// Measures the rows whose names `wanted` accepts, and the bare work that their aims contain.
///
/// `begin` hears the name of each row before it is measured; it may say no, and the run ends there.
/// `each` gets the outcomes as they come.
///
/// # Errors
/// Memory that was not given back. A row that went wrong is an outcome.
pub fn run<W: World>(
    world: &W,
    meter: &dyn Meter,
    options: Options,
    wanted: &dyn Fn(&str) -> bool,
    begin: &mut dyn FnMut(&'static str) -> bool,
    each: &mut dyn FnMut(Outcome),
) -> Result<(), Failure> {
    let before = Census::of(world);
    // Made by the compiler, and not by code.
    let rows = const { all::<W>() };
    let mut bare: [(&str, Figure); COUNT] = [("", Figure::default()); COUNT];
    for (row, place) in rows.iter().zip(&mut bare) {
        let part = |other: &Row<W>| {
            wanted(other.name) && other.aim.is_some_and(|aim| aim.bare == Some(row.name))
        };
        if options.profile || !rows.iter().any(part) {
            continue;
        }
        let outcome = measure(world, meter, options, row, SOLITARY, &|_| Figure::default());
        *place = (row.name, outcome.instructions().unwrap_or_default());
    }
    let bare = |name: &str| {
        bare.iter()
            .find(|(other, _)| *other == name)
            .map_or(Figure::default(), |(_, figure)| *figure)
    };
    for row in rows.iter().filter(|row| wanted(row.name)) {
        if !begin(row.name) {
            break;
        }
        let cpus = options.cpus;
        if row.sharing == Sharing::Series && row.op.is_some() {
            for cpus in SERIES.into_iter().filter(|cpus| *cpus <= world.cpus()) {
                let setting = Setting { cpus, shared: false, series: true };
                each(measure(world, meter, options, row, setting, &bare));
            }
            continue;
        }
        if cpus == 1 || row.op.is_none() {
            each(measure(world, meter, options, row, SOLITARY, &bare));
            continue;
        }
        // With what each of them will have.
        let share = Options { bytes: options.bytes / cpus as u64, ..options };
        let alone = measure(world, meter, share, row, SOLITARY, &bare);
        let alone = alone.measured().and_then(|measured| measured.whole);
        let both = [false, true];
        for shared in both.into_iter().filter(|shared| !shared || row.sharing == Sharing::Both) {
            let outcome =
                measure(world, meter, options, row, Setting { cpus, shared, series: false }, &bare);
            each(Outcome { alone, ..outcome });
        }
    }
    before.compare(Census::of(world))
}

/// The CPUs of a series.
pub const SERIES: [usize; 3] = [1, 2, 4];

/// One CPU.
const SOLITARY: Setting = Setting { cpus: 1, shared: false, series: false };

/// Measures one row in one setting.
fn measure<W: World>(
    world: &W,
    meter: &dyn Meter,
    options: Options,
    row: &Row<W>,
    setting: Setting,
    bare: &dyn Fn(&str) -> Figure,
) -> Outcome {
    let mut outcome = Outcome::of(row, setting, bare);
    if let Some(op) = row.op {
        // Free memory is whole again and no kernel address is lazy, whatever the rows before have left.
        let mm = world.mm();
        mm.unmap_aliases();
        mm.frames.drain(&mm.hw);
        let rounds = options.rounds.unwrap_or(row.rounds);
        let table =
            Table::new(world, meter, op, Options { rounds: Some(rounds), ..options }, setting);
        outcome.state = match table.measure() {
            Ok(measured) => State::Measured(measured),
            Err(failure) => State::Failed(failure),
        };
    }
    outcome
}
