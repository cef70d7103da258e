//! Sizes, counts, times, tables and paragraphs, as people read them.

use crate::{Bytes, Clock, Column, Count, Elapsed, Wrapped, columns};
use core::fmt::Write;
use core::time::Duration;
use proptest::prelude::*;
use std::string::{String, ToString};

#[test]
fn sizes_are_exact_or_have_one_decimal() {
    let cases = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (640 << 10, "640 KiB"),
        ((1 << 20) - 1, "1 MiB"),
        (256 << 20, "256 MiB"),
        (3 << 29, "1.5 GiB"),
        (u64::MAX, "16 EiB"),
    ];
    for (bytes, text) in cases {
        assert_eq!(Bytes(bytes).to_string(), text);
    }
}

#[test]
fn counts_have_three_digits() {
    let cases = [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_250_000, "1.25M"),
        (99_960_000, "100M"),
        (u64::MAX, "18.4E"),
    ];
    for (count, text) in cases {
        assert_eq!(Count(count).to_string(), text);
    }
}

#[test]
fn times_come_in_the_unit_that_fits() {
    let cases = [
        (0, "0 ns"),
        (850, "850 ns"),
        (12_500, "12.5 us"),
        (999_999_999, "999.9 ms"),
        (1_500_000_000, "1.50 s"),
        (123_000_000_000, "2:03"),
        (3_723_000_000_000, "1:02:03"),
    ];
    for (nanos, text) in cases {
        assert_eq!(Elapsed(Duration::from_nanos(nanos)).to_string(), text);
    }
    assert_eq!(Clock(Duration::from_secs(5)).to_string(), "0:05");
}

#[test]
fn width_and_alignment_are_honoured() {
    assert_eq!(std::format!("[{:>9}]", Bytes(3 << 29)), "[  1.5 GiB]");
    assert_eq!(std::format!("[{:<9}]", Count(12)), "[12       ]");
}

#[test]
fn tables_align_numbers_right_and_end_without_blanks() {
    let mut out = String::new();
    let rows = [("pgfault", 1234_u64, "all"), ("x", 5, "")];
    let heads = [Column::Left("event"), Column::Right("count"), Column::Left("who")];
    columns(&mut out, &heads, |row| {
        for (name, count, who) in &rows {
            row([name, count, who]);
        }
    })
    .unwrap();
    assert_eq!(out, "  event    count  who\n  pgfault   1234  all\n  x            5\n");
}

#[test]
fn a_table_without_headings_has_no_heading_row() {
    let mut out = String::new();
    columns(&mut out, &[Column::Left(""), Column::Left("")], |row| row([&"a", &"b"])).unwrap();
    assert_eq!(out, "  a  b\n");
}

proptest! {
    #[test]
    fn wrapping_changes_only_blanks(text in "[a-zé ]{0,300}|[a-z]{60,70} [a-z]{100,130} é{40}", columns in 10..90_usize) {
        let mut out = String::new();
        let mut wrapped = Wrapped::new(&mut out, columns, 2, 0);
        wrapped.write_str(&text).unwrap();
        wrapped.finish().unwrap();
        prop_assert!(out.split_whitespace().eq(text.split_whitespace()), "{}", out);
        for row in out.lines() {
            prop_assert_eq!(row.trim_end(), row);
            let words = row.split_whitespace().count();
            prop_assert!(row.chars().count() <= columns || words <= 1, "{:?}", row);
        }
    }

    #[test]
    fn people_never_read_more_than_they_need(number in any::<u64>(), shift in 0..64_u32) {
        let number = number >> shift;
        prop_assert!(Count(number).to_string().len() <= 5);
        prop_assert!(Bytes(number).to_string().len() <= "1023.9 KiB".len());
    }
}
