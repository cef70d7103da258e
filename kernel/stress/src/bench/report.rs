//! How outcomes are shown to people.

use super::figure::Figure;
use super::result::{Measured, Outcome, State, Verdict};
use super::series::series;
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
pub(super) fn kinds(measured: &Measured) -> impl Iterator<Item = (&'static str, Figure)> {
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

/// Two tables: how each row compares (with Linux, or with one CPU), and what of the machine it used.
/// Then what a series is about.
pub fn table(out: &mut dyn Write, outcomes: &[Outcome]) -> fmt::Result {
    let rows = || outcomes.iter().filter(|outcome| !outcome.setting.series);
    if rows().next().is_some() {
        match rows().any(|outcome| outcome.setting.cpus > 1) {
            false => comparison(out, &rows)?,
            true => scaling(out, &rows)?,
        }
        out.write_char('\n')?;
        machine(out, &rows)?;
    }
    if rows().count() < outcomes.len() {
        if rows().next().is_some() {
            out.write_char('\n')?;
        }
        series(out, outcomes)?;
    }
    Ok(())
}

/// Outcomes, again and again.
type Rows<'a, I> = &'a dyn Fn() -> I;

fn comparison<'a>(
    out: &mut dyn Write,
    rows: Rows<'_, impl Iterator<Item = &'a Outcome>>,
) -> fmt::Result {
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
        for outcome in rows() {
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

fn scaling<'a>(
    out: &mut dyn Write,
    rows: Rows<'_, impl Iterator<Item = &'a Outcome>>,
) -> fmt::Result {
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
        for outcome in rows() {
            let whole = outcome.measured().and_then(|measured| measured.whole);
            let (alone, growth) = (Maybe(outcome.alone), Maybe(outcome.growth()));
            row([&Named(outcome), &outcome.per, &alone, &Maybe(whole), &growth, &Met(outcome)]);
        }
    })
}

fn machine<'a>(
    out: &mut dyn Write,
    rows: Rows<'_, impl Iterator<Item = &'a Outcome>>,
) -> fmt::Result {
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
        for outcome in rows() {
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
                &Maybe(measured.ns),
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
pub(super) struct Maybe(pub(super) Option<Figure>);

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
pub(super) struct Met<'a>(pub(super) &'a Outcome);

impl Display for Met<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let measured = match &self.0.state {
            State::NotBuilt => return f.write_str("not built yet"),
            State::Failed(failure) => return write!(f, "failed: {failure}"),
            State::Measured(measured) => measured,
        };
        f.write_str(self.0.verdict().word())?;
        let is_met = matches!(self.0.verdict(), Verdict::Aim | Verdict::AimOnly);
        if let Some(why) = self.0.excuse.or(self.0.distance.filter(|_| !is_met)) {
            write!(f, " ({why})")?;
        }
        match measured.unsteady {
            Some([first, second]) => write!(f, " UNSTEADY: {first}, then {second}"),
            None => Ok(()),
        }
    }
}
