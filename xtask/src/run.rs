//! The verbs with a person at the serial line: run, shell, image, symbolize.

use crate::{
    board::{Board, Choices},
    image::{self, Flavour, Image},
    launch::{self, Launch, Serial},
    litmus,
    symbols::{Explainer, Symbols},
    trouble::{Result, Trouble},
    workspace,
};
use clap::Args;
use std::{
    fs,
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::{ExitCode, Stdio},
};

/// What may be chosen of a launch: by option, or by the Makefile's variables.
#[derive(Args)]
pub(crate) struct Pick {
    /// A folder of boards/
    #[arg(long, env = "BOARD", default_value = "virt")]
    board: String,
    /// CPU model: cortex-a72, max, …
    #[arg(long, env = "CPU")]
    cpu: Option<String>,
    /// How many CPUs
    #[arg(long, env = "CPUS")]
    cpus: Option<String>,
    /// GIC version: 2 or 3
    #[arg(long, env = "GIC")]
    gic: Option<String>,
    /// Exception level at entry: 1 or 2
    #[arg(long, env = "EL")]
    el: Option<String>,
    /// Memory: 256M, 8G, …
    #[arg(long, env = "MEM")]
    mem: Option<String>,
    /// How many memory nodes
    #[arg(long, env = "NODES")]
    nodes: Option<String>,
    /// The linear map's pages: blocks or 4k
    #[arg(long, env = "LINEAR")]
    linear: Option<String>,
    /// Watch translation: an image with the sanitizer, and known bugs that `mutant=` may arm
    #[arg(long, env = "SANITIZE")]
    sanitize: Option<String>,
    /// A known bug to commit; only with the sanitizer
    #[arg(long, env = "MUTANT")]
    mutant: Option<String>,
    /// Shell commands to run instead of the tour; then power off
    #[arg(long, env = "RUN")]
    run: Option<String>,
    /// Litmus tests for the kernel: a .litmus file, or a folder of them
    #[arg(long, env = "LITMUS")]
    litmus: Option<PathBuf>,
    /// More arguments for QEMU
    #[arg(long, env = "QEMU_ARGS", allow_hyphen_values = true)]
    qemu_args: Option<String>,
}

impl Pick {
    /// What was asked for; an empty variable asks for nothing.
    fn choices(&self) -> Choices {
        let axes = [
            ("cpu", &self.cpu),
            ("cpus", &self.cpus),
            ("gic", &self.gic),
            ("el", &self.el),
            ("mem", &self.mem),
            ("nodes", &self.nodes),
            ("linear", &self.linear),
        ];
        let chosen = |(axis, value): (&str, &Option<String>)| {
            let value = value.as_ref().filter(|value| !value.is_empty())?;
            Some((axis.to_owned(), value.clone()))
        };
        axes.into_iter().filter_map(chosen).collect()
    }

    fn launch(&self) -> Result<Launch> {
        let board = Board::load(&workspace::root(), &self.board)?;
        let mut launch = Launch::new(board, &self.choices())?;
        launch.args = launch::split(self.qemu_args.as_deref().unwrap_or_default());
        if let Some(path) = self.litmus.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            launch.args.extend(litmus::arguments(path)?);
        }
        if self.flavour() == Flavour::Sanitized {
            launch.words.push("sanitize=on".into());
            launch.words.extend(self.mutant.as_ref().map(|mutant| format!("mutant={mutant}")));
        }
        Ok(launch)
    }

    /// An empty variable, or 0, asks for nothing. The zoo is in the image with bugs only.
    fn flavour(&self) -> Flavour {
        match self.sanitize.as_deref() {
            None | Some("" | "0") if !visits_zoo(self.run.as_deref().unwrap_or_default()) => {
                Flavour::Plain
            }
            _ => Flavour::Sanitized,
        }
    }
}

/// Whether one of the commands is the zoo's.
fn visits_zoo(run: &str) -> bool {
    run.split(';').any(|command| command.split_whitespace().next() == Some("zoo"))
}

/// The word for the kernel that plays the tour before the prompt.
const TOUR: &str = "tour";

/// Boots and does what RUN says. Without it, plays the tour: to a person, who then has the prompt;
/// to a program, which gets the result as the exit status.
pub(crate) fn run(pick: &Pick) -> Result<ExitCode> {
    let mut launch = pick.launch()?;
    match &pick.run {
        Some(run) if !run.is_empty() => launch.run = Some(run.clone()),
        _ if io::stdin().is_terminal() => launch.words.push(TOUR.into()),
        _ => launch.run = Some(TOUR.into()),
    }
    boot(&launch, pick.flavour())
}

/// Boots to the prompt.
pub(crate) fn shell(pick: &Pick) -> Result<ExitCode> {
    boot(&pick.launch()?, pick.flavour())
}

/// Connects this terminal with a booted image; its status is ours.
fn boot(launch: &Launch, flavour: Flavour) -> Result<ExitCode> {
    let image = Image::build_as(flavour)?;
    eprintln!("{}: {}", launch.board.title, launch.summary());
    if launch.run.is_none() && io::stdin().is_terminal() {
        eprintln!("Ctrl-C goes to granule. To leave: `poweroff`, or Ctrl-A x.");
    }
    let mut qemu = launch.command(&image.flat, Serial::Person)?;
    let program = qemu.get_program().to_string_lossy().into_owned();
    let mut child =
        qemu.stdout(Stdio::piped()).spawn().map_err(|why| Trouble::Start(program.clone(), why))?;
    if let Some(mut screen) = child.stdout.take() {
        let symbols = Symbols::open(&image.elf, &workspace::root())?;
        // Should our own output go away, QEMU notices by itself when it writes next.
        let _ = pass_on(&mut screen, Explainer::new(io::stdout(), Some(symbols)));
    }
    let status = child.wait().map_err(|why| Trouble::Start(program, why))?;
    // Ended by a signal: no status of its own, and no success.
    Ok(status.code().map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)))
}

/// Passes everything on, as it comes.
fn pass_on(from: &mut impl Read, mut to: Explainer<impl Write>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            n => to.feed(&chunk[..n])?,
        }
    }
}

/// Builds the image and gathers what goes on each real board's boot medium.
pub(crate) fn image() -> Result<()> {
    let image = Image::build()?;
    println!("{} ({} bytes)", image.flat.display(), image.bytes);
    let bytes = fs::read(&image.flat).map_err(|why| Trouble::File(image.flat.clone(), why))?;
    for board in Board::all(&workspace::root())? {
        let Some(medium) = &board.medium else { continue };
        let folder = workspace::out_dir().join(&board.name);
        image::write_if_changed(&folder.join(&medium.image), &bytes)?;
        for file in &medium.files {
            let from = board.folder.join(file);
            let bytes = fs::read(&from).map_err(|why| Trouble::File(from, why))?;
            image::write_if_changed(&folder.join(file), &bytes)?;
        }
        println!("{}: for the boot medium of a {}", folder.display(), board.title);
    }
    Ok(())
}

/// Explains the backtraces in standard input, by the last image built.
pub(crate) fn symbolize() -> Result<()> {
    let symbols = Symbols::open(&Image::last_elf(), &workspace::root())?;
    let mut stdin = io::stdin();
    pass_on(&mut stdin, Explainer::new(io::stdout(), Some(symbols)))
        .map_err(|why| Trouble::File("standard input".into(), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zoo_is_where_the_bugs_are() {
        for run in ["zoo list", "selftest; zoo run unmap-no-tlbi", " zoo"] {
            assert!(visits_zoo(run), "{run}");
        }
        for run in ["", "stress all", "help zoo", "zoology"] {
            assert!(!visits_zoo(run), "{run}");
        }
    }
}
