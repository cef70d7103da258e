//! How outcomes are shown: a table for people, a JSON object a line for tools.

use super::figure::Figure;
use super::result::{Measured, Outcome, State, Verdict};
use abi::Event;
use core::fmt::{self, Display, Formatter, Write};
use shell::{Column, columns};

/// TLB maintenance by the instruction's name, where it reaches every CPU and where it stays on one.
/// The counters do not tell a range's leaves from its walks.
const KINDS: [(&str, &str, Event); 5] = [
    ("vale1is", "vale1", Event::TlbiVaLast),
    ("vae1is", "vae1", Event::TlbiVa),
    ("rvae1is", "rvae1", Event::TlbiRange),
    ("aside1is", "aside1", Event::TlbiAsid),
    ("vmalle1is", "vmalle1", Event::TlbiAll),
];

/// How often each kind was issued, all zeros too. Local ones have their own names where all were
/// local; where only some were, their sum follows as `local`, for nothing counts them by kind.
fn kinds(measured: &Measured) -> impl Iterator<Item = (&'static str, Figure)> {
    let local = measured.count(Event::TlbiLocal);
    let mixed = !measured.is_local && local > Figure::default();
    let one = |(shared, here, event)| {
        (if measured.is_local { here } else { shared }, measured.count(event))
    };
    KINDS.into_iter().map(one).chain(mixed.then_some(("local", local)))
}

impl Verdict {
    /// In a word, for tools and for the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aim => "aim",
            Self::AimOnly => "aim, not 3x",
            Self::Promise => "3x",
            Self::Neither => "no",
            Self::Open => "",
        }
    }
}

/// A JSON object on a line of its own. Figures are per unit; what is not known is `null`.
pub fn json(out: &mut dyn Write, outcome: &Outcome) -> fmt::Result {
    let Outcome { name, per, setting, .. } = outcome;
    write!(out, "{{\"op\": \"{name}\", \"per\": \"{per}\"")?;
    if let Some(measured) = outcome.measured() {
        json_figures(out, measured)?;
    }
    write!(out, ", \"cpus\": {}, \"shared\": {}", setting.cpus, setting.shared)?;
    let linux = outcome.linux.map(|linux| Figure::whole(linux.instructions));
    write!(out, ", \"linux\": {}, \"aim\": {}", Null(linux), Null(outcome.aim))?;
    write!(out, ", \"alone\": {}", Null(outcome.alone))?;
    match (&outcome.state, outcome.excuse) {
        (State::Failed(failure), _) => write!(out, ", \"failed\": \"{failure}\"")?,
        (State::Measured(measured), excuse) => {
            write!(out, ", \"met\": \"{}\"", outcome.verdict().word())?;
            if let Some(excuse) = excuse {
                write!(out, ", \"excuse\": \"{excuse}\"")?;
            }
            if let Some([first, second]) = measured.unsteady {
                write!(out, ", \"unsteady\": [{}, {}]", first.exact(), second.exact())?;
            }
        }
        (State::NotBuilt, _) => write!(out, ", \"missing\": \"not built yet\"")?,
    }
    writeln!(out, "}}")
}

fn json_figures(out: &mut dyn Write, measured: &Measured) -> fmt::Result {
    let (instructions, ns) = (Null(measured.instructions), measured.ns.exact());
    write!(out, ", \"instructions\": {instructions}, \"ns\": {ns}, \"tlbi\": {{")?;
    let mut between = "";
    for (kind, count) in kinds(measured) {
        write!(out, "{between}\"{kind}\": {}", count.exact())?;
        between = ", ";
    }
    let (barriers, ipis) = (measured.barriers().exact(), measured.ipis.exact());
    write!(out, "}}, \"dsb\": {barriers}, \"ipi\": {ipis}")?;
    let (cleared, copied) = (measured.bytes_cleared(), measured.bytes_copied());
    write!(out, ", \"bytes_cleared\": {cleared}, \"bytes_copied\": {copied}")?;
    write!(out, ", \"tables\": {}, \"units\": {}", measured.tables().exact(), measured.units)?;
    write!(out, ", \"counted\": {}, \"whole\": {}", measured.counted, Null(measured.whole))
}

/// A figure, or `null`.
struct Null(Option<Figure>);

impl Display for Null {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(figure) => figure.exact().fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// Two tables: how each row compares (with Linux, or with one CPU), and what of the machine it used.
pub fn table(out: &mut dyn Write, outcomes: &[Outcome]) -> fmt::Result {
    match outcomes.iter().any(|outcome| outcome.setting.cpus > 1) {
        false => comparison(out, outcomes)?,
        true => scaling(out, outcomes)?,
    }
    out.write_char('\n')?;
    machine(out, outcomes)
}

fn comparison(out: &mut dyn Write, outcomes: &[Outcome]) -> fmt::Result {
    writeln!(out, "Instructions, per unit:")?;
    let heads = [
        Column::Left("op"),
        Column::Left("per"),
        Column::Right("ours"),
        Column::Right("Linux"),
        Column::Right("fewer"),
        Column::Right("aim"),
        Column::Left("met"),
    ];
    columns(out, &heads, |row| {
        for outcome in outcomes {
            let ratio = fmt::from_fn(|f| match outcome.ratio() {
                Some(ratio) => write!(f, "{ratio}x"),
                None => Ok(()),
            });
            let linux = outcome.linux.map(|linux| Figure::whole(linux.instructions));
            row([
                &Named(outcome),
                &outcome.per,
                &Maybe(outcome.instructions()),
                &Maybe(linux),
                &ratio,
                &Maybe(outcome.aim),
                &Met(outcome),
            ]);
        }
    })
}

fn scaling(out: &mut dyn Write, outcomes: &[Outcome]) -> fmt::Result {
    writeln!(out, "Instructions of all CPUs, preparing and cleaning up included, per unit:")?;
    let heads = [
        Column::Left("op"),
        Column::Left("per"),
        Column::Right("1 CPU"),
        Column::Right("all"),
        Column::Right("growth"),
        Column::Left(""),
    ];
    columns(out, &heads, |row| {
        for outcome in outcomes {
            let whole = outcome.measured().and_then(|measured| measured.whole);
            let (alone, growth) = (Maybe(outcome.alone), Maybe(outcome.growth()));
            row([&Named(outcome), &outcome.per, &alone, &Maybe(whole), &growth, &Met(outcome)]);
        }
    })
}

fn machine(out: &mut dyn Write, outcomes: &[Outcome]) -> fmt::Result {
    writeln!(out, "What the machine was asked for, per unit:")?;
    let heads = [
        Column::Left("op"),
        Column::Right("ns"),
        Column::Right("publish"),
        Column::Right("complete"),
        Column::Right("ipi"),
        Column::Right("tables"),
        Column::Right("cleared"),
        Column::Right("copied"),
        Column::Left("tlbi"),
    ];
    columns(out, &heads, |row| {
        for outcome in outcomes {
            let Some(measured) = outcome.measured() else { continue };
            let kinds = fmt::from_fn(|f| {
                let some = |(_, count): &(&str, Figure)| *count > Figure::default();
                let mut between = "";
                for (kind, count) in kinds(measured).filter(some) {
                    write!(f, "{between}{kind} {count}")?;
                    between = ", ";
                }
                Ok(())
            });
            row([
                &Named(outcome),
                &measured.ns,
                &measured.count(Event::DsbPublish),
                &measured.count(Event::DsbComplete),
                &measured.ipis,
                &measured.tables(),
                &measured.bytes_cleared(),
                &measured.bytes_copied(),
                &kinds,
            ]);
        }
    })
}

/// A figure, or a dash.
struct Maybe(Option<Figure>);

impl Display for Maybe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(figure) => figure.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// The row's name, and where it was measured if that is not the usual place.
struct Named<'a>(&'a Outcome);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Outcome { name, setting, .. } = self.0;
        f.write_str(name)?;
        match (setting.cpus, setting.shared) {
            (1, _) => Ok(()),
            (cpus, false) => write!(f, " x{cpus}"),
            (cpus, true) => write!(f, " x{cpus} in one space"),
        }
    }
}

/// What to think of a row.
struct Met<'a>(&'a Outcome);

impl Display for Met<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let measured = match &self.0.state {
            State::NotBuilt => return f.write_str("not built yet"),
            State::Failed(failure) => return write!(f, "failed: {failure}"),
            State::Measured(measured) => measured,
        };
        f.write_str(self.0.verdict().word())?;
        if let Some(excuse) = self.0.excuse {
            write!(f, " ({excuse})")?;
        }
        match measured.unsteady {
            Some([first, second]) => write!(f, " UNSTEADY: {first}, then {second}"),
            None => Ok(()),
        }
    }
}
