//! `make mutants`: who catches which known bug, found out by committing each of them now.
//!
//! The suites that arm bugs say what they saw, line by line ([`evidence`]); QEMU's columns are boots of an
//! image with the bugs compiled in and nobody watching but the kernel itself. Nothing that is printed is
//! remembered from an earlier run, and no cell is filled by what somebody expects.
//!
//! | file | concern |
//! | --- | --- |
//! | `table` | from the suites' lines to rows, and from rows to a table and to JSON |
//! | `suites` | what is run on the host, and what is run without a bug |
//! | `qemu` | QEMU's columns |
//! | `page` | the table in `docs/mutants.md` |

mod page;
mod qemu;
mod suites;
mod table;

pub(crate) use suites::{silent, survivors};

use crate::{
    image,
    trouble::{Result, Trouble},
    workspace,
};
use clap::Args;
use evidence::Line;
use std::{fs, time::Instant};
use table::{Matrix, SEED};

/// What each workload takes without a bug, before any is committed: a judge who cries wolf is none.
pub(crate) const STEPS: u64 = 10_000_000;

/// What may be chosen, by option or by the Makefile's variables.
#[derive(Args)]
pub(crate) struct Pick {
    /// Only the bugs whose name holds this, or one of these, with commas between
    #[arg(long, env = "ONLY", default_value = "")]
    only: String,
    /// `no`: leave QEMU's columns empty
    #[arg(long, env = "QEMU", default_value = "yes")]
    qemu: String,
    /// `1`: write the table of a whole run into docs/mutants.md
    #[arg(long, env = "DOCS", default_value = "")]
    docs: String,
}

impl Pick {
    /// Whether nothing is left out.
    fn is_whole(&self) -> bool {
        self.only.is_empty() && self.qemu != "no"
    }
}

/// Commits every bug, prints the matrix; whether each was caught by somebody, and soon enough.
pub(crate) fn mutants(pick: &Pick) -> Result<bool> {
    let started = Instant::now();
    let file = workspace::out_dir().join("evidence.txt");
    // Left over from another run, it would answer in this one's name.
    image::write_if_changed(&file, b"")?;
    let mut whole = !pick.is_whole() || silent(STEPS, SEED, "random")?;
    for (what, mut suite) in suites::arming(&file, &pick.only)? {
        let began = Instant::now();
        eprintln!("{what} …");
        let output = suite.output().map_err(|why| Trouble::Start("cargo".into(), why))?;
        if !output.status.success() {
            // Failing tests name themselves; a suite that did not compile says why.
            print!("{}", String::from_utf8_lossy(&output.stdout));
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            eprintln!("{what}: failed; cells may be missing");
            whole = false;
        }
        eprintln!("  {:.0} s", began.elapsed().as_secs_f64());
    }
    let text = fs::read_to_string(&file).map_err(|why| Trouble::File(file.clone(), why))?;
    let lines: Option<Vec<Line>> = text.lines().map(Line::decode).collect();
    let lines = lines.ok_or_else(|| Trouble::Failed(format!("reading {}", file.display())))?;
    let mut matrix = Matrix::new(lines, &pick.only);
    if pick.qemu != "no" {
        whole &= qemu::boot_each(&mut matrix)?;
    }
    let json = workspace::out_dir().join("mutants.json");
    image::write_if_changed(&json, matrix.json().as_bytes())?;
    println!("{matrix}the whole run took {:.0} s", started.elapsed().as_secs_f64());
    println!("{}", json.display());
    let passed = whole && matrix.is_caught_in_time();
    if !pick.docs.is_empty() && pick.is_whole() && passed {
        page::write(&matrix, started.elapsed())?;
    }
    Ok(passed)
}
