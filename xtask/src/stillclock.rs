//! The library that stops QEMU's wall clock where a run is to repeat to the byte; why, it says
//! itself (`xtask/stillclock`). Without it everything works, but may differ on a busy host.

use crate::workspace;
use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

/// Its package, and what Cargo makes of it on Linux.
const PACKAGE: &str = "granule-stillclock";
const LIBRARY: &str = "libgranule_stillclock.so";

/// The dynamic linker's list of libraries to load first.
pub(crate) const PRELOAD: &str = "LD_PRELOAD";

/// Why a run goes on without the library.
#[derive(PartialEq, Eq, Debug)]
enum Without {
    /// The system's dynamic linker knows no such list.
    System,
    /// The list is separated by colons and blanks, which cannot be quoted.
    Path(PathBuf),
    /// Cargo said why.
    Build,
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => write!(f, "{PACKAGE} is for Linux"),
            Self::Path(path) => write!(f, "{PRELOAD} cannot hold {}", path.display()),
            Self::Build => write!(f, "{PACKAGE} could not be built"),
        }
    }
}

/// What [`PRELOAD`] is to be for a QEMU with these arguments, or `None` to leave it alone: the
/// library, built when it is first wanted, where time is counted in instructions.
pub(crate) fn preload(args: &[String]) -> Option<OsString> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    if !counts_instructions(args) {
        return None;
    }
    let library = BUILT.get_or_init(|| {
        build()
            .inspect_err(|why| eprintln!("{why}: runs with -icount may differ on a busy host"))
            .ok()
    });
    Some(in_front(library.as_ref()?, env::var_os(PRELOAD)))
}

/// QEMU takes its options with one dash or two.
fn counts_instructions(args: &[String]) -> bool {
    args.iter().any(|arg| arg == "-icount" || arg == "--icount")
}

/// The library before whatever was to be loaded anyway.
fn in_front(library: &Path, others: Option<OsString>) -> OsString {
    let mut list = OsString::from(library);
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    list
}

fn build() -> Result<PathBuf, Without> {
    if !cfg!(target_os = "linux") {
        return Err(Without::System);
    }
    let target = workspace::target_dir();
    let library = listable(target.join("release").join(LIBRARY))?;
    let mut cargo = workspace::cargo("build");
    cargo.args(["--quiet", "--release", "--package", PACKAGE, "--target-dir"]).arg(&target);
    let built = cargo.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
    if built && library.is_file() { Ok(library) } else { Err(Without::Build) }
}

/// A path that the list would not cut.
fn listable(path: PathBuf) -> Result<PathBuf, Without> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let cut = bytes.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b':');
    if cut { Err(Without::Path(path)) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::split;

    #[test]
    fn only_runs_that_count_instructions_have_their_clock_stopped() {
        assert!(counts_instructions(&split("-icount shift=0,sleep=off")));
        assert!(counts_instructions(&split("-d int --icount shift=1")));
        assert!(!counts_instructions(&split("-d int -D icount")));
        assert_eq!(preload(&[]), None);
    }

    #[test]
    fn what_was_preloaded_before_stays() {
        let library = Path::new("/t/still.so");
        assert_eq!(in_front(library, None), "/t/still.so");
        assert_eq!(in_front(library, Some("".into())), "/t/still.so");
        assert_eq!(in_front(library, Some("/a.so:/b.so".into())), "/t/still.so:/a.so:/b.so");
    }

    #[test]
    fn a_path_that_the_list_would_cut_is_not_put_in_it() {
        assert_eq!(listable("/t/still.so".into()), Ok("/t/still.so".into()));
        for path in ["/my work/still.so", "/a:b/still.so"] {
            assert_eq!(listable(path.into()), Err(Without::Path(path.into())));
        }
    }
}
