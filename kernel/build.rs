//! Links the image by the repository's linker script, and tells it which version it is.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = here.parent().unwrap_or(&here);
    let script = root.join("linker.ld");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", script.display());
    // The script is the target's; a host build of the image is only ever looked at, not run.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
        // Functions that are the same, byte for byte, once: a hundredth of the code.
        println!("cargo::rustc-link-arg-bins=--icf=all");
    }
    println!("cargo::rustc-env=GRANULE_VERSION={}", version(root));
}

/// The package's version, with the commit where there is one to ask.
fn version(root: &Path) -> String {
    let package = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    commit(root).map_or(package.clone(), |commit| format!("{package}-{commit}"))
}

/// The commit of this very repository: an unpacked archive within another one has none.
fn commit(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    (Path::new(&top).canonicalize().ok()? == root.canonicalize().ok()?).then_some(())?;
    // Each commit and each checkout adds a line here.
    let log = root.join(git(root, &["rev-parse", "--git-path", "logs/HEAD"])?);
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(root, &["rev-parse", "--short=9", "HEAD"])
}

/// What git answers, or nothing without git, a repository, or a first commit.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    let answer = Command::new("git").current_dir(root).args(args).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    answer.status.success().then(|| text.trim().to_owned())
}
