//! The kernel command line: quotes of every loader, warnings that stop nothing.

use crate::{Arg, BootOptions, Commands, Kind, QuoteError};
use std::string::{String, ToString};
use std::vec::Vec;

static OPTIONS: &[Arg] = &[
    Arg::key("console", Kind::Word, "where to print"),
    Arg::key("run", Kind::Word, "what to run, then power off"),
    Arg::key("linear", Kind::OneOf(&["4k", "block"]), "leaves of the linear map").or("block"),
    Arg::flag("quiet", "print less"),
];

fn parse(text: &str) -> BootOptions<'_> {
    BootOptions::parse(text, OPTIONS).unwrap()
}

fn warnings(text: &str) -> Vec<String> {
    parse(text).warnings().map(|warning| warning.to_string()).collect()
}

#[test]
fn the_options_make_sense() {
    assert_eq!(BootOptions::check(OPTIONS), Ok(()));
}

#[test]
fn options_are_split_as_loaders_quote_them() {
    let script = "selftest; stress all secs=5 seed=1";
    for text in [
        "console=uart0 run=\"selftest; stress all secs=5 seed=1\" linear=4k quiet",
        "console=uart0 run='selftest; stress all secs=5 seed=1' linear=4k quiet",
        "  console=uart0\t\"run=selftest; stress all secs=5 seed=1\" 'linear=4k' \"quiet\"\0",
        "quiet linear=\"4k\" run=\"selftest; stress all secs=5 seed=1\" console=uart0\n",
    ] {
        let options = parse(text);
        assert_eq!(options.args().maybe_word("run"), Some(script), "{text}");
        assert_eq!(options.args().maybe_word("console"), Some("uart0"));
        assert_eq!(options.args().maybe_word("linear"), Some("4k"));
        assert!(options.args().flag("quiet"));
        assert_eq!(options.warnings().count(), 0, "{text}");
    }
    let commands: Vec<_> = Commands::of(script).collect();
    assert_eq!(commands, [Ok("selftest"), Ok("stress all secs=5 seed=1")]);
}

#[test]
fn an_empty_line_gives_defaults() {
    for text in ["", "   ", "\0"] {
        let options = parse(text);
        assert_eq!(options.args().maybe_word("linear"), Some("block"));
        assert_eq!(options.args().maybe_word("run"), None);
        assert!(!options.args().flag("quiet"));
    }
}

#[test]
fn an_empty_run_is_not_no_run() {
    assert_eq!(parse("run=").args().maybe_word("run"), Some(""));
    assert_eq!(parse("run=\"\"").args().maybe_word("run"), Some(""));
}

#[test]
fn the_last_of_repeated_options_counts() {
    let options = parse("run=cpus quiet quiet run=mem");
    assert_eq!(options.args().maybe_word("run"), Some("mem"));
    assert_eq!(options.warnings().count(), 0);
}

#[test]
fn a_bare_semicolon_does_not_cut_an_option() {
    assert_eq!(
        parse("run=selftest;poweroff quiet").args().maybe_word("run"),
        Some("selftest;poweroff")
    );
}

#[test]
fn nested_quotes_reach_the_command() {
    let run = parse("run=\"dt '/soc; x'; cpus\"").args().maybe_word("run");
    let commands: Vec<_> = Commands::of(run.unwrap()).collect();
    assert_eq!(commands, [Ok("dt '/soc; x'"), Ok("cpus")]);
}

#[test]
fn what_is_not_known_is_a_warning() {
    assert_eq!(
        warnings("root=/dev/mmcblk0p2 ro linar=4k linear=8k quiet=1 run quiett run=cpus"),
        [
            "kernel command line: unknown option `root` ignored",
            "kernel command line: unknown option `ro` ignored",
            "kernel command line: unknown option `linar` ignored (did you mean linear?)",
            "kernel command line: linear=8k ignored: unknown (did you mean 4k?); expected one of 4k, block",
            "kernel command line: quiet=1 ignored: write quiet, or =on, =off",
            "kernel command line: run without a value ignored: write run=<word>",
            "kernel command line: unknown option `quiett` ignored (did you mean quiet?)",
        ]
    );
    let options = parse("root=/dev/mmcblk0p2 linear=8k run=cpus");
    assert_eq!(options.args().maybe_word("run"), Some("cpus"));
    assert_eq!(options.args().maybe_word("linear"), Some("block"), "the default stays");
}

#[test]
fn quotes_that_do_not_match_are_an_error_with_evidence() {
    let error = |text| BootOptions::parse(text, OPTIONS).err();
    assert_eq!(error("quiet run=\"cpus"), Some(QuoteError::Unclosed { quote: '"', at: 10 }));
    assert_eq!(error("'quiet"), Some(QuoteError::Unclosed { quote: '\'', at: 0 }));
    assert_eq!(error("run=\"a\"b"), Some(QuoteError::TextAfter { quote: '"', at: 7 }));
    assert_eq!(error("run=it's root=a\"b"), None, "a quote within a word is a character");
}
