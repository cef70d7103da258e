//! Where things are, and Cargo.

use crate::trouble::{Result, Trouble};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// What the image is built for.
pub(crate) const TARGET: &str = "aarch64-unknown-none-softfloat";

/// The image, which only exists on the target: everything else is tested on the host too.
pub(crate) const IMAGE: &str = "granule";

/// The repository's top. Asked at run time first, so that a moved tree still works.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Cargo's folder of built things.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Our own folder in it: images, logs.
pub(crate) fn out_dir() -> PathBuf {
    target_dir().join("granule")
}

/// Cargo, in the workspace.
pub(crate) fn cargo(verb: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root()).arg(verb);
    command
}

/// Runs a command to its end with the terminal's output.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|why| Trouble::Start(program.clone(), why))?;
    let what = command.get_args().next().map(|verb| verb.to_string_lossy().into_owned());
    let name = || format!("{} {}", short(&program), what.unwrap_or_default());
    status.success().then_some(()).ok_or_else(|| Trouble::Failed(name()))
}

/// A program's name without its folders.
fn short(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
