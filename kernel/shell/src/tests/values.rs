//! Values read as they are meant, and read back as they are printed.

use crate::value::Value;
use crate::{ExactSize, ExactTime, Kind, ValueError};
use core::time::Duration;
use proptest::prelude::*;
use std::string::{String, ToString};

fn number(text: &str) -> Result<Value<'_>, ValueError> {
    Value::parse(Kind::NUMBER, text)
}

fn time(text: &str) -> Result<Value<'_>, ValueError> {
    Value::parse(Kind::Time, text)
}

#[test]
fn numbers_read_with_prefix_suffix_and_gaps() {
    let cases = [
        ("0", 0),
        ("0x20", 32),
        ("0XfF", 255),
        ("64K", 64 << 10),
        ("64k", 64 << 10),
        ("1M", 1 << 20),
        ("256MiB", 256 << 20),
        ("8G", 8 << 30),
        ("2T", 2 << 40),
        ("0x10K", 16 << 10),
        ("1_000_000", 1_000_000),
        ("18446744073709551615", u64::MAX),
    ];
    for (text, want) in cases {
        assert_eq!(number(text), Ok(Value::Number(want)), "{text}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for text in ["", "K", "x", "0x", "-1", "+1", "1.5", "1 ", "1iB", "MiB", "_1", "1_", "1KK", "٣"]
    {
        assert_eq!(number(text), Err(ValueError::NotANumber), "{text}");
    }
    for text in ["18446744073709551616", "16777216T", "0x10000000000000000", &"9".repeat(200)] {
        assert_eq!(number(text), Err(ValueError::TooLarge), "{text}");
    }
}

#[test]
fn times_read_with_units_and_decimals() {
    let cases = [
        ("5", Duration::from_secs(5)),
        ("0", Duration::ZERO),
        ("5s", Duration::from_secs(5)),
        ("0.5", Duration::from_millis(500)),
        ("1.25s", Duration::from_millis(1250)),
        ("500ms", Duration::from_millis(500)),
        ("20us", Duration::from_micros(20)),
        ("7ns", Duration::from_nanos(7)),
        ("2m", Duration::from_secs(120)),
        ("1m30s", Duration::from_secs(90)),
        ("1h1min1s", Duration::from_secs(3661)),
    ];
    for (text, want) in cases {
        assert_eq!(time(text), Ok(Value::Time(want)), "{text}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for text in ["", "s", ".", "1.", ".5", "1..2", "-1", "5 s", "5x", "1m30", "1.0000000001", "s5"]
    {
        assert_eq!(time(text), Err(ValueError::NotATime), "{text}");
    }
    assert_eq!(time("18446744073709551616"), Err(ValueError::TooLarge));
    assert_eq!(time(&"9".repeat(60)), Err(ValueError::TooLarge));
}

#[test]
fn addresses_are_hexadecimal_either_way() {
    for text in ["ffff_8000_0008_0000", "0xffff800000080000", "FFFF800000080000"] {
        let want = Ok(Value::Number(0xffff_8000_0008_0000));
        assert_eq!(Value::parse(Kind::Address, text), want);
    }
    assert_eq!(Value::parse(Kind::Address, "kernel"), Err(ValueError::NotAnAddress));
    assert_eq!(Value::parse(Kind::Address, &"f".repeat(17)), Err(ValueError::TooLarge));
}

proptest! {
    #[test]
    fn printed_sizes_read_back(value in any::<u64>(), shift in 0..64_u32) {
        let value = value >> shift << (shift / 2);
        let text = ExactSize(value).to_string();
        prop_assert_eq!(number(&text), Ok(Value::Number(value)));
    }

    #[test]
    fn printed_times_read_back(secs in any::<u64>(), nanos in 0..1_000_000_000_u32, unit in 0..4_u32) {
        let coarse = 1000_u32.pow(unit.min(3));
        let value = Duration::new(secs, nanos / coarse * coarse % 1_000_000_000);
        let text = ExactTime(value).to_string();
        prop_assert_eq!(time(&text), Ok(Value::Time(value)));
    }

    #[test]
    fn any_text_is_a_value_or_an_error(text in any::<String>(), likely in "[0-9._xKMGsmuh]{0,12}") {
        for text in [&text, &likely] {
            for kind in [Kind::NUMBER, Kind::Time, Kind::Address, Kind::OneOf(&["a"]), Kind::Flag] {
                if let Ok(Value::Word(word)) = Value::parse(kind, text) {
                    prop_assert_eq!(word, "a");
                }
            }
        }
    }
}
