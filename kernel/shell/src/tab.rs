//! What Tab inserts or lists.

use crate::line::Line;
use core::fmt::{self, Write};

/// What follows a candidate once it stands complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// A blank: the word is complete.
    Blank,
    /// An equals sign: a value follows.
    Equals,
}

impl Ending {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Blank => b" ",
            Self::Equals => b"=",
        }
    }
}

/// Something that could stand at the cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<'a> {
    /// All of it.
    pub text: &'a str,
    /// How many bytes of it stand before the cursor already.
    pub typed: usize,
    /// What follows it.
    pub ending: Ending,
}

impl Candidate<'_> {
    /// What is still to be typed.
    fn rest(&self) -> &str {
        self.text.get(self.typed..).unwrap_or_default()
    }
}

/// Whoever knows what could be typed.
pub trait Complete {
    /// Calls `offer` with everything that may stand where the text `before` the cursor ends, in the
    /// order in which it should be listed. Is called more than once, and must offer the same.
    fn candidates(&self, before: &str, offer: &mut dyn FnMut(Candidate<'_>));
}

/// Knows nothing: Tab only beeps.
#[derive(Clone, Copy, Debug)]
pub struct NoCompletion;

impl Complete for NoCompletion {
    fn candidates(&self, _before: &str, _offer: &mut dyn FnMut(Candidate<'_>)) {}
}

/// What all candidates have in common.
pub(crate) struct Survey {
    pub(crate) count: usize,
    /// What can be typed without choosing: the common start, and the ending of a lone candidate.
    pub(crate) insert: Line,
}

impl Survey {
    pub(crate) fn of(complete: &dyn Complete, before: &str) -> Self {
        let mut count = 0;
        let mut insert = Line::EMPTY;
        let mut lone_ending = None;
        complete.candidates(before, &mut |candidate| {
            let rest = candidate.rest().as_bytes();
            if count == 0 {
                // What no line could hold is listed, but never typed for the user.
                let fits = insert.insert(0, rest).is_ok();
                lone_ending = fits.then_some(candidate.ending);
            } else {
                let common = insert.bytes().iter().zip(rest).take_while(|(a, b)| a == b).count();
                insert.truncate(common);
                lone_ending = None;
            }
            count += 1;
        });
        if let Some(ending) = lone_ending {
            // Without room for the ending the word still helps.
            let _ = insert.insert(insert.len(), ending.bytes());
        }
        Self { count, insert }
    }
}

/// Lists all candidates in as many equally wide columns as fit, along the rows.
pub(crate) fn list(
    complete: &dyn Complete,
    before: &str,
    columns: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    const GAP: usize = 2;
    let mut widest = 0;
    complete.candidates(before, &mut |candidate| widest = widest.max(width(&candidate)));
    let cell = GAP + widest;
    let mut used = 0;
    // The blanks owed to the last cell: paid when another follows, so no row ends in blanks.
    let mut owed = 0;
    let mut result = Ok(());
    complete.candidates(before, &mut |candidate| {
        if used > 0 && used + cell >= columns {
            result = result.and_then(|()| out.write_char('\n'));
            (used, owed) = (0, 0);
        }
        let equals = if candidate.ending == Ending::Equals { "=" } else { "" };
        let lead = owed + GAP;
        result = result.and_then(|()| write!(out, "{:lead$}{}{equals}", "", candidate.text));
        owed = widest.saturating_sub(width(&candidate));
        used += cell;
    });
    result.and_then(|()| out.write_char('\n'))
}

fn width(candidate: &Candidate<'_>) -> usize {
    candidate.text.chars().count() + usize::from(candidate.ending == Ending::Equals)
}
