//! What is told of a bug, and how it is printed.

use core::fmt;
use mm::mutant::Mutant;

/// A place in this source.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The file, from the root of the source.
    pub file: &'static str,
    /// The function in it.
    pub function: &'static str,
}

/// One step of a story: which lane takes it, and what it is.
pub type Step = (usize, &'static str);

/// The story of a bug.
#[derive(Clone, Copy, Debug)]
pub struct Exhibit {
    /// Which bug.
    pub mutant: Mutant,
    /// Where the world met it.
    pub found: &'static str,
    /// Who takes part: CPUs, hardware that walks.
    pub lanes: &'static [&'static str],
    /// What they do, in order.
    pub steps: &'static [Step],
    /// The rule that is broken.
    pub rule: &'static str,
    /// The step that prevents it, which the bug takes away.
    pub prevents: &'static str,
    /// Where that step is.
    pub place: Place,
}

/// The story of a bug that cannot be committed here yet: the code that it is a bug of is not built.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Its name, once there is such a bug.
    pub name: &'static str,
    /// What it does wrong, in a clause.
    pub about: &'static str,
    /// What has to be built first.
    pub waits_for: &'static str,
    /// Where the world met it.
    pub found: &'static str,
    /// Who takes part.
    pub lanes: &'static [&'static str],
    /// What they do, in order.
    pub steps: &'static [Step],
    /// The rule that is broken.
    pub rule: &'static str,
}

/// Columns of a line.
const WIDTH: usize = 78;
/// Blanks before every line, and between lanes.
const GAP: usize = 2;

/// Writes `text` wrapped, each line after `indent` blanks and no wider than `width`.
fn paragraph(f: &mut fmt::Formatter<'_>, indent: usize, width: usize, text: &str) -> fmt::Result {
    let mut used = width + 1;
    for word in text.split(' ') {
        if used + 1 + word.len() > width {
            write!(f, "\n{:indent$}{word}", "")?;
            used = word.len();
        } else {
            write!(f, " {word}")?;
            used += 1 + word.len();
        }
    }
    Ok(())
}

/// A heading and the text below it.
fn section(f: &mut fmt::Formatter<'_>, heading: &str, text: &str) -> fmt::Result {
    write!(f, "\n{heading}")?;
    paragraph(f, GAP, WIDTH - GAP, text)
}

/// The part of a story that comes before the rule: where it was found, and how it goes wrong.
fn history(f: &mut fmt::Formatter<'_>, found: &str, lanes: &[&str], steps: &[Step]) -> fmt::Result {
    f.write_str("found")?;
    paragraph(f, GAP, WIDTH - GAP, found)?;
    f.write_str("\nhow it goes wrong\n")?;
    let lane = WIDTH / lanes.len().max(1);
    for (n, name) in lanes.iter().enumerate() {
        // The last one has nothing to keep clear of.
        let width = if n + 1 < lanes.len() { lane - GAP } else { 0 };
        write!(f, "{:GAP$}{name:<width$}", "")?;
    }
    for &(by, what) in steps {
        paragraph(f, by * lane + GAP, lane - GAP, what)?;
    }
    Ok(())
}

/// Everything but the name: several lines, without an end to the last.
impl fmt::Display for Exhibit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        history(f, self.found, self.lanes, self.steps)?;
        section(f, "the rule", self.rule)?;
        section(f, "what prevents it", self.prevents)?;
        write!(f, "\n{:GAP$}{}: {}", "", self.place.file, self.place.function)
    }
}

/// Everything but the name, as for an [`Exhibit`].
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        history(f, self.found, self.lanes, self.steps)?;
        section(f, "the rule", self.rule)?;
        section(f, "waits for", self.waits_for)
    }
}
