//! Lines for tools.

use super::figure::Figure;
use super::report::kinds;
use super::result::{Measured, Outcome, State};
use core::fmt::{self, Display, Formatter, Write};

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
            if let Some(distance) = outcome.distance {
                write!(out, ", \"distance\": \"{distance}\"")?;
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
    let (instructions, ns) = (Null(measured.instructions), Null(measured.ns));
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
