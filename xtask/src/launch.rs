//! One launch of QEMU: its command line, from a board's data and what was chosen.

use crate::{
    board::{Board, Choices, Place},
    stillclock,
    trouble::{Result, Trouble},
};
use std::{path::Path, process::Command};

/// The emulator.
const QEMU: &str = "qemu-system-aarch64";

/// Who is at the serial line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Serial {
    /// A person: QEMU's monitor shares the line behind Ctrl-A, so Ctrl-C goes to the guest.
    Person,
    /// A program: every byte is the guest's.
    Program,
}

/// How the image is started, and what it is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The machine.
    pub(crate) board: Board,
    /// A value for each of its axes.
    pub(crate) choices: Choices,
    /// The kernel command line's `run="…"`: do this and power off. Without, the prompt.
    pub(crate) run: Option<String>,
    /// Other words for the kernel command line.
    pub(crate) words: Vec<String>,
    /// Whether the image can hand QEMU an exit status.
    pub(crate) semihosting: bool,
    /// Whether QEMU loads the image itself; otherwise the arguments say who does.
    pub(crate) direct: bool,
    /// Further arguments, last, so that they may overrule. `{image}` is the image's path.
    pub(crate) args: Vec<String>,
}

impl Launch {
    /// A plain launch of a board as chosen: to the prompt.
    pub(crate) fn new(board: Board, wanted: &Choices) -> Result<Self> {
        let choices = board.pick(wanted)?;
        let (words, args) = (Vec::new(), Vec::new());
        Ok(Self { board, choices, run: None, words, semihosting: true, direct: true, args })
    }

    /// The kernel command line.
    fn append(&self) -> Result<String> {
        let mut words = self.board.spell(&self.choices, Place::Append);
        words.extend(self.words.iter().cloned());
        if let Some(run) = &self.run {
            if run.contains('"') {
                return Err(Trouble::Quote(run.clone()));
            }
            words.push(format!("run=\"{run}\""));
        }
        Ok(words.join(" "))
    }

    /// QEMU, ready to be spawned with `image`.
    pub(crate) fn command(&self, image: &Path, serial: Serial) -> Result<Command> {
        let qemu = &self.board.qemu;
        let mut machine = vec![qemu.machine.clone()];
        machine.extend(qemu.options.iter().cloned());
        machine.extend(self.board.spell(&self.choices, Place::Machine));
        let mut command = Command::new(QEMU);
        command.args(["-M", &machine.join(",")]);
        for arg in self.board.spell(&self.choices, Place::Arg) {
            command.args(arg.split(' '));
        }
        command.args(&qemu.args).args(["-display", "none", "-no-reboot"]);
        command.args(match serial {
            Serial::Person => ["-serial", "mon:stdio"].as_slice(),
            Serial::Program => ["-serial", "stdio", "-monitor", "none"].as_slice(),
        });
        if self.semihosting {
            command.arg("-semihosting");
        }
        if let Some(dtb) = self.board.dtb().filter(|_| self.direct) {
            command.arg("-dtb").arg(dtb);
        }
        if self.direct {
            command.arg("-kernel").arg(image).arg("-append").arg(self.append()?);
        }
        let image = image.display().to_string();
        command.args(self.args.iter().map(|arg| arg.replace("{image}", &image)));
        if let Some(libraries) = stillclock::preload(&self.args) {
            command.env(stillclock::PRELOAD, libraries);
        }
        Ok(command)
    }

    /// The line that repeats this launch; in words what no variable can say.
    pub(crate) fn replay(&self) -> String {
        let verb = if self.run.is_some() { "run" } else { "shell" };
        let mut line = format!("make {verb} {}", self.board.variables(&self.choices));
        if let Some(run) = &self.run {
            line += &format!(" RUN=\"{run}\"");
        }
        if !self.args.is_empty() {
            line += &format!(" QEMU_ARGS=\"{}\"", self.args.join(" "));
        }
        if !self.words.is_empty() {
            line += &format!(" (and to the kernel: {})", self.words.join(" "));
        }
        if !self.semihosting {
            line += " (without -semihosting)";
        }
        if !self.direct {
            line += " (without -kernel)";
        }
        line
    }

    /// What machine this is, for people: its choices in words.
    pub(crate) fn summary(&self) -> String {
        let axes = self.choices.iter().map(|(axis, value)| match axis.as_str() {
            "cpus" => format!("{value} CPU{}", if value == "1" { "" } else { "s" }),
            "nodes" => format!("{value} memory node{}", if value == "1" { "" } else { "s" }),
            "gic" => format!("GICv{value}"),
            "el" => format!("EL{value}"),
            "linear" => format!("linear={value}"),
            _ => value.clone(),
        });
        axes.collect::<Vec<_>>().join(", ")
    }
}

/// Splits a line of arguments as a shell would: at blanks, but not within quotes.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for char in line.chars() {
        match quote {
            Some(mark) if char == mark => quote = None,
            Some(_) => word.get_or_insert_default().push(char),
            None if char == '"' || char == '\'' => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            None if char.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn line(launch: &Launch) -> Vec<String> {
        let command = launch.command(Path::new("IMG"), Serial::Program).unwrap();
        command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    fn launch(board: &str) -> Launch {
        Launch::new(Board::load(&workspace::root(), board).unwrap(), &Choices::new()).unwrap()
    }

    #[test]
    fn a_run_is_one_argument_however_many_words_it_has() {
        let mut launch = launch("virt");
        launch.run = Some("selftest; stress all secs=3".into());
        let line = line(&launch);
        let at = line.iter().position(|arg| arg == "-append").unwrap();
        assert_eq!(line[at + 1], "run=\"selftest; stress all secs=3\"");
    }

    #[test]
    fn a_run_that_cannot_be_quoted_is_refused() {
        let mut launch = launch("virt");
        launch.run = Some("log \"x\"".into());
        assert!(matches!(launch.command(Path::new("I"), Serial::Program), Err(Trouble::Quote(_))));
    }

    #[test]
    fn every_launch_is_without_network_window_and_reboot() {
        let line = line(&launch("virt")).join(" ");
        for part in ["-nic none", "-display none", "-no-reboot", "-semihosting", "-kernel IMG"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn the_pi_gets_its_device_tree_and_a_firmware_boot_gets_neither() {
        let mut launch = launch("raspi4b");
        assert!(line(&launch).join(" ").contains("raspi4b.dtb"));
        launch.direct = false;
        launch.args = vec!["-device".into(), "loader,file={image}".into()];
        let line = line(&launch).join(" ");
        assert!(!line.contains("-dtb") && !line.contains("-kernel"), "{line}");
        assert!(line.ends_with("-device loader,file=IMG"), "{line}");
    }

    #[test]
    fn a_replay_line_says_all_that_was_chosen() {
        let mut launch = launch("raspi4b");
        launch.run = Some("stress all seed=7".into());
        launch.args = split("-icount shift=0");
        launch.semihosting = false;
        let line = launch.replay();
        assert!(line.starts_with("make run BOARD=raspi4b CPU=cortex-a72 "), "{line}");
        for part in ["RUN=\"stress all seed=7\"", "QEMU_ARGS=\"-icount shift=0\"", "-semihosting"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn extra_arguments_are_split_as_a_shell_would() {
        let words = split(" -icount shift=0,sleep=off  -device 'a b' \"\" ");
        assert_eq!(words, ["-icount", "shift=0,sleep=off", "-device", "a b", ""]);
    }
}
