//! What may have been meant: the known name nearest to a mistyped one.

/// Bytes in the longest name that is compared.
const LONGEST: usize = 24;

/// The first of the nearest `names`, if it is near enough to be worth asking.
pub(crate) fn nearest(
    typed: &str,
    names: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let mut best = None;
    for name in names {
        let distance = if typed.len() >= 2 && name.starts_with(typed) {
            // An abbreviation, which no count of missing letters tells from another word.
            1
        } else {
            distance(typed.as_bytes(), name.as_bytes())
        };
        let near = distance <= (typed.len().max(name.len()) / 3).max(1);
        // Nothing in common is no slip of the finger, however short.
        let related = distance < name.len().max(typed.len());
        if near && related && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// How many letters must be put in, left out, changed or exchanged with their neighbour to turn `a`
/// into `b` (optimal string alignment). Names over [`LONGEST`] bytes are as far as can be.
fn distance(a: &[u8], b: &[u8]) -> usize {
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    // Three rows of the usual matrix: the one before the last is for exchanges.
    let mut before = [0; LONGEST + 1];
    let mut last: [usize; LONGEST + 1] = core::array::from_fn(|column| column);
    for i in 0..a.len() {
        let mut row = [0; LONGEST + 1];
        row[0] = i + 1;
        for j in 0..b.len() {
            let change = last[j] + usize::from(a[i] != b[j]);
            let mut least = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row[j + 1] = least;
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn each_slip_counts_one() {
        for (typed, steps) in [("stress", 0), ("stres", 1), ("strress", 1), ("strass", 1)] {
            assert_eq!(distance(typed.as_bytes(), b"stress"), steps, "{typed}");
        }
        assert_eq!(distance(b"tsress", b"stress"), 1, "neighbours exchanged");
        assert_eq!(distance(b"", b"abc"), 3);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let names = ["cpus", "mem", "stress", "poweroff"];
        let meant = |typed| nearest(typed, names.into_iter());
        assert_eq!(meant("stres"), Some("stress"));
        assert_eq!(meant("mme"), Some("mem"));
        assert_eq!(meant("power"), Some("poweroff"));
        assert_eq!(meant("x"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant("completely-different-and-long"), None);
    }
}
