//! The table in `docs/mutants.md`: between two marks, as the last whole run left it.

use super::table::{Matrix, SEED};
use crate::{
    image,
    trouble::{Result, Trouble},
    workspace,
};
use std::{
    fs,
    time::{Duration, SystemTime},
};

/// The page, from the repository's top.
const PAGE: &str = "docs/mutants.md";
/// What stands before the table, and behind it.
const MARKS: [&str; 2] = ["<!-- made by `make mutants DOCS=1` -->\n", "<!-- until here -->"];

/// Puts the matrix of a whole run that took so long into the page.
pub(super) fn write(matrix: &Matrix, took: Duration) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let text = fs::read_to_string(&path).map_err(|why| Trouble::File(path.clone(), why))?;
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = date(since_1970.as_secs() / 86400);
    let about = format!(
        "Made on {year}-{month:02}-{day:02}, the first seed of everything {SEED}, in {} minutes.",
        took.as_secs().div_ceil(60)
    );
    let made = format!("\n{about}\n\n{}\n", matrix.markdown());
    let text = replaced(&text, &made).ok_or_else(|| Trouble::Failed(format!("marks in {PAGE}")))?;
    image::write_if_changed(&path, text.as_bytes())
}

/// The text with `made` between the marks.
fn replaced(text: &str, made: &str) -> Option<String> {
    let (before, rest) = text.split_once(MARKS[0])?;
    let (_, behind) = rest.split_once(MARKS[1])?;
    Some([before, MARKS[0], made, MARKS[1], behind].concat())
}

/// Year, month and day of a day that is counted from 1970-01-01 on. The count is taken from a year's first of
/// March, so that leap days come last, and by eras of 400 years, which are all of one length.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_454), (2026, 1, 1));
        assert_eq!(date(20_778), (2026, 11, 21));
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("a\n{}old{}\nb", MARKS[0], MARKS[1]);
        let want = format!("a\n{}new{}\nb", MARKS[0], MARKS[1]);
        assert_eq!(replaced(&text, "new"), Some(want));
        assert_eq!(replaced("no marks", "new"), None);
    }

    #[test]
    fn the_page_has_its_marks() {
        let text = fs::read_to_string(workspace::root().join(PAGE)).unwrap();
        assert!(replaced(&text, "").is_some());
    }
}
