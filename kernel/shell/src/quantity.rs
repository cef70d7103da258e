//! Sizes, counts and times: rounded for people, or exact in the form that arguments are typed in.

use core::fmt::{self, Display, Formatter};
use core::time::Duration;

/// A number of bytes for people: `17 B`, `640 KiB`, `1.5 GiB`. One decimal where it is not exact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(pub u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad_text(format_args!("{} B", self.0));
        }
        let mut tenths = 0;
        let mut name = UNITS[0];
        for (index, unit) in UNITS.into_iter().enumerate() {
            let shift = 10 * (index as u32 + 1);
            // Wide enough for ten times the largest u64. Rounded half up.
            tenths = (u128::from(self.0) * 10 + (1 << (shift - 1))) >> shift;
            name = unit;
            if tenths < 10_240 {
                break;
            }
        }
        match tenths % 10 {
            0 => f.pad_text(format_args!("{} {name}", tenths / 10)),
            tenth => f.pad_text(format_args!("{}.{tenth} {name}", tenths / 10)),
        }
    }
}

/// A count or rate for people, in three digits: `830`, `12.5k`, `1.25M`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count(pub u64);

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = u128::from(self.0);
        if value < 1000 {
            return f.pad_text(format_args!("{value}"));
        }
        let (mut scale, mut unit) = (1, "");
        for next in ["k", "M", "G", "T", "P", "E"] {
            // 999.5 and more would round to four digits.
            if 2 * value < 1999 * scale {
                break;
            }
            scale *= 1000;
            unit = next;
        }
        let rounded = |parts: u128| (value * parts + scale / 2) / scale;
        if rounded(100) < 1000 {
            f.pad_text(format_args!("{}.{:02}{unit}", rounded(100) / 100, rounded(100) % 100))
        } else if rounded(10) < 1000 {
            f.pad_text(format_args!("{}.{}{unit}", rounded(10) / 10, rounded(10) % 10))
        } else {
            f.pad_text(format_args!("{}{unit}", rounded(1)))
        }
    }
}

/// A time for people, in the unit that fits: `850 ns`, `12.5 us`, `1.50 s`, `2:03`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(pub Duration);

impl Display for Elapsed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0..1_000 => f.pad_text(format_args!("{nanos} ns")),
            1_000..1_000_000 => {
                f.pad_text(format_args!("{}.{} us", nanos / 1_000, nanos / 100 % 10))
            }
            1_000_000..1_000_000_000 => {
                f.pad_text(format_args!("{}.{} ms", nanos / 1_000_000, nanos / 100_000 % 10))
            }
            1_000_000_000..60_000_000_000 => f.pad_text(format_args!(
                "{}.{:02} s",
                nanos / 1_000_000_000,
                nanos / 10_000_000 % 100
            )),
            _ => Display::fmt(&Clock(self.0), f),
        }
    }
}

/// A time as a stopwatch shows it: `0:05`, `12:34`, `1:00:00`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock(pub Duration);

impl Display for Clock {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
        match hours {
            0 => f.pad_text(format_args!("{minutes}:{secs:02}")),
            _ => f.pad_text(format_args!("{hours}:{minutes:02}:{secs:02}")),
        }
    }
}

/// A number exactly, with the largest suffix that loses nothing: `256M`, `1000`. Arguments are
/// typed so, and a replay line must give the same number again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExactSize(pub u64);

impl Display for ExactSize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (suffix, shift) in [('T', 40), ('G', 30), ('M', 20), ('K', 10)] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return f.pad_text(format_args!("{}{suffix}", self.0 >> shift));
            }
        }
        f.pad_text(format_args!("{}", self.0))
    }
}

/// A time exactly, in the largest unit that loses nothing: `5s`, `1500ms`. See [`ExactSize`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExactTime(pub Duration);

impl Display for ExactTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        for (unit, size) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
            if nanos.is_multiple_of(size) {
                return f.pad_text(format_args!("{}{unit}", nanos / size));
            }
        }
        f.pad_text(format_args!("{nanos}ns"))
    }
}

/// Honours width and alignment for text that is put together from parts.
trait PadText {
    fn pad_text(&mut self, text: fmt::Arguments<'_>) -> fmt::Result;
}

impl PadText for Formatter<'_> {
    fn pad_text(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        let Some(width) = self.width() else { return self.write_fmt(text) };
        let missing = width.saturating_sub(crate::columns::width(&text));
        let before = match self.align() {
            Some(fmt::Alignment::Right) => missing,
            Some(fmt::Alignment::Center) => missing / 2,
            Some(fmt::Alignment::Left) | None => 0,
        };
        write!(self, "{:before$}{text}{:after$}", "", "", after = missing - before)
    }
}
