//! The library that stops QEMU's wall clock where a run is to repeat to the byte; why, it says
//! itself (`xtask/stillclock`).

use crate::workspace;
use std::{ffi::OsStr, path::PathBuf, process::Stdio, sync::OnceLock};

/// Its package, and what Cargo makes of it on Linux.
const PACKAGE: &str = "granule-stillclock";
const LIBRARY: &str = "libgranule_stillclock.so";

/// What to preload into a QEMU with these arguments: the library, built when it is first wanted,
/// where time is counted in instructions and the system can preload.
pub(crate) fn preload<'a>(mut args: impl Iterator<Item = &'a OsStr>) -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let counted = args.any(|arg| arg == "-icount");
    if counted && cfg!(target_os = "linux") { BUILT.get_or_init(build).clone() } else { None }
}

fn build() -> Option<PathBuf> {
    let target = workspace::target_dir();
    let mut cargo = workspace::cargo("build");
    cargo.args(["--quiet", "--release", "--package", PACKAGE, "--target-dir"]).arg(&target);
    let built = cargo.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
    if !built {
        eprintln!("{PACKAGE} could not be built: runs with -icount may differ on a busy host");
    }
    built.then(|| target.join("release").join(LIBRARY))
}
