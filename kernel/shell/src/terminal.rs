//! What the far side of the line can show.

/// How much of the screen may be driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// A VT100 or anything newer: escape sequences are understood.
    Ansi,
    /// A dumb terminal, a log file or a pipe: text, line ends and backspaces, no escape sequences.
    Plain,
    /// Nobody looks: no prompt, no echo, no progress.
    Nothing,
}

/// Whether the prompt is coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    /// No colour anywhere: the default, because logs are read later by other programs.
    Off,
    /// The prompt's name in bold green. Needs [`Show::Ansi`].
    Prompt,
}

/// The far side, as far as drawing depends on it. Nothing can be asked over a bare serial line, so
/// the width is an assumption; lines longer than it scroll sideways instead of wrapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terminal {
    show: Show,
    columns: usize,
    colour: Colour,
}

impl Terminal {
    /// What a serial console has had since 1978.
    const COLUMNS: usize = 80;
    /// Below this the prompt and a few characters of text no longer fit beside each other.
    const COLUMNS_MIN: usize = 20;

    /// A terminal of 80 columns without colour.
    pub const fn new(show: Show) -> Self {
        Self { show, columns: Self::COLUMNS, colour: Colour::Off }
    }

    /// The same, `columns` wide; less than 20 is taken as 20.
    pub const fn with_columns(mut self, columns: usize) -> Self {
        self.columns = if columns < Self::COLUMNS_MIN { Self::COLUMNS_MIN } else { columns };
        self
    }

    /// The same with other colours.
    pub const fn with_colour(mut self, colour: Colour) -> Self {
        self.colour = colour;
        self
    }

    /// How much of the screen may be driven.
    pub const fn show(&self) -> Show {
        self.show
    }

    /// Characters in a row.
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the prompt is coloured, which only an ANSI terminal can do.
    pub const fn colour(&self) -> Colour {
        match self.show {
            Show::Ansi => self.colour,
            Show::Plain | Show::Nothing => Colour::Off,
        }
    }
}
