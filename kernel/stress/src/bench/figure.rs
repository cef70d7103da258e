//! A measured quantity per unit, exact to a millionth: one flush of a gibibyte of pages is 0.000004
//! flushes a page, and says so.
//!
//! Integers throughout: the image has no floating point.

use core::fmt;

/// Parts of one.
const MILLION: u64 = 1_000_000;

/// So many millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Figure(u64);

impl Figure {
    /// A whole number.
    pub const fn whole(n: u64) -> Self {
        Self(n * MILLION)
    }

    /// So many tenths.
    pub const fn tenths(n: u64) -> Self {
        Self(n * (MILLION / 10))
    }

    /// `total` spread over `units`, rounded down; zero over nothing.
    pub fn per(total: u64, units: u64) -> Self {
        let millionths = u128::from(total) * u128::from(MILLION) / u128::from(units.max(1));
        Self(u64::try_from(millionths).unwrap_or(u64::MAX))
    }

    /// This many of them, to the nearest whole number.
    pub fn times(self, n: u64) -> u64 {
        let millionths = u128::from(self.0) * u128::from(n) + u128::from(MILLION / 2);
        u64::try_from(millionths / u128::from(MILLION)).unwrap_or(u64::MAX)
    }

    /// The sum.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// How many times `other` it is; `None` where `other` is zero.
    pub fn over(self, other: Self) -> Option<Self> {
        (other.0 > 0).then(|| Self::per(self.0, other.0))
    }

    /// For tools: all digits that are not trailing zeros.
    pub fn exact(self) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            let (whole, mut part, mut digits) = (self.0 / MILLION, self.0 % MILLION, 6);
            if part == 0 {
                return write!(f, "{whole}");
            }
            while part.is_multiple_of(10) {
                part /= 10;
                digits -= 1;
            }
            write!(f, "{whole}.{part:0digits$}")
        })
    }
}

/// For people: about three digits, which is as far as a comparison goes.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0 {
            0 => 0,
            n if n < MILLION / 100 => 6,
            n if n < 10 * MILLION => 2,
            n if n < 100 * MILLION => 1,
            _ => 0,
        };
        let unit = 10_u64.pow(6 - digits);
        let rounded = (self.0 + unit / 2) / unit;
        let scale = 10_u64.pow(digits);
        let (whole, part) = (rounded / scale, rounded % scale);
        match (part, digits as usize) {
            (0, _) => write!(f, "{whole}"),
            (part, digits) => write!(f, "{whole}.{part:0digits$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn tools_get_every_digit_and_no_more() {
        let exact = |total, units| Figure::per(total, units).exact().to_string();
        assert_eq!(exact(512, 1), "512");
        assert_eq!(exact(0, 7), "0");
        assert_eq!(exact(1, 512), "0.001953");
        assert_eq!(exact(3, 2), "1.5");
        assert_eq!(exact(1, 262_144), "0.000003");
        assert_eq!(exact(5, 0), "5");
    }

    #[test]
    fn people_get_about_three_digits() {
        let shown = |total, units| Figure::per(total, units).to_string();
        assert_eq!(shown(512, 1), "512");
        assert_eq!(shown(1999, 2), "1000");
        assert_eq!(shown(151, 10), "15.1");
        assert_eq!(shown(3, 2), "1.50");
        assert_eq!(shown(1, 512), "0.001953");
        assert_eq!(Figure::tenths(15).to_string(), "1.50");
    }

    #[test]
    fn a_ratio_of_nothing_is_none() {
        let (few, many) = (Figure::whole(500), Figure::whole(3108));
        assert_eq!(many.over(few).map(|ratio| ratio.to_string()).as_deref(), Some("6.22"));
        assert_eq!(many.over(Figure::default()), None);
    }

    #[test]
    fn many_of_a_part_are_rounded_once() {
        assert_eq!(Figure::per(10, 3).times(3), 10);
        assert_eq!(Figure::tenths(5).times(1), 1);
        assert_eq!(Figure::whole(7).plus(Figure::tenths(1)).times(10), 71);
    }
}
