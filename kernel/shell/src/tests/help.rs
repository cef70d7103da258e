//! Help, as it is printed.

use super::{Diary, TABLE};
use crate::Status;
use std::string::String;

fn help(script: &str) -> String {
    let mut out = String::new();
    assert_eq!(TABLE.run(&mut Diary::default(), script, &mut out), Status::Ok);
    out
}

#[test]
fn overview_lists_every_command() {
    assert_eq!(
        help("help"),
        "\
\x20 cpus    what each CPU is and does
  pt      walk the page tables of an address
  stress  run workloads and check each page they touch
  fail    fail as asked
  stop    be stopped
  help    list the commands, or explain one

help <command> tells what it takes and shows examples. Tab completes, the arrows
recall and edit, Ctrl-R searches, Ctrl-C stops a command, `;` puts several in a
line.
"
    );
}

#[test]
fn detail_tells_all_that_is_declared() {
    assert_eq!(
        help("help stress"),
        "\
stress - run workloads and check each page they touch

usage: stress [<workload>] [cpus=<number>] [secs=<time>] [seed=<number>]
              [mem=<size>] [tag=<word>] [mode=fast|slow] [verbose]

  <workload>      what to run: one of all, fault-4k, fault-thp, gup-vs-unmap,
                  oom (default all)
  cpus=<number>   how many take part: a number from 1 to 64
  secs=<time>     how long each runs: a time such as 5, 500ms or 1m30s
                  (default 5)
  seed=<number>   what the random choices start from: a number such as 8 or 0x20
                  (default 1)
  mem=<size>      memory to use: a size of 1M or more
  tag=<word>      a name for the log
  mode=fast|slow  how to go about it: one of fast, slow (default fast)
  verbose         tell more

Every page that a workload touches says whose it is, so a translation that is
stale or crosses spaces is seen as wrong data.

Ctrl-C stops it cleanly.

examples:
  stress all secs=5 seed=1
  stress fault-thp cpus=4 mem=256M
"
    );
}

#[test]
fn detail_of_a_plain_command_is_short() {
    assert_eq!(help("help cpus"), "cpus - what each CPU is and does\n\nusage: cpus\n");
}

#[test]
fn every_row_fits_a_terminal() {
    for row in help("help; help pt; help stress; help help").lines() {
        assert!(row.chars().count() <= 80 && row.trim_end() == row, "{row:?}");
    }
}
