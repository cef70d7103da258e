//! A QEMU that a program watches: its output collected, its keyboard played, its time limited.

use crate::trouble::{Result, Trouble};
use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// One act at the serial line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// Wait until this text has come, after what was waited for before.
    Await(String),
    /// Type this.
    Send(Vec<u8>),
    /// Wait until nothing has come for a moment: the guest has caught up with what was typed.
    Settle,
    /// The guest has said all that it will; end the machine.
    Leave,
}

/// How long a silence means that the guest has caught up.
const MOMENT: Duration = Duration::from_millis(400);

/// How a session ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// What came over the serial line.
    pub(crate) output: Vec<u8>,
    /// What QEMU itself complained about.
    pub(crate) complaints: String,
    /// QEMU's exit status; none if it was ended from outside.
    pub(crate) status: Option<i32>,
    /// The text that was waited for in vain when time ran out or the machine went away.
    pub(crate) awaited: Option<String>,
    /// It did not end by itself.
    pub(crate) hung: bool,
    /// It was ended on purpose, by [`Act::Leave`].
    pub(crate) left: bool,
    /// From start to exit.
    pub(crate) took: Duration,
}

/// Plays `acts` to a QEMU and waits for its end, at most until `limit` after the start.
pub(crate) fn play(command: &mut Command, acts: &[Act], limit: Duration) -> Result<Outcome> {
    let started = Instant::now();
    let stdin = if acts.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|why| Trouble::Start(program, why))?;
    let complaints = child.stderr.take().map(|mut pipe| {
        thread::spawn(move || {
            let mut text = Vec::new();
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let mut line = Line::new(&mut child, started + limit);
    let awaited = line.play(acts);
    // Should the script have failed, the machine may well sit at its prompt: no use waiting for it.
    let left = awaited.is_none() && acts.last() == Some(&Act::Leave);
    let drained = awaited.is_none() && !left && line.drain();
    let status = end(&mut child, drained);
    let output = line.output;
    let complaints = complaints.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let (hung, took) = (!drained && !left, started.elapsed());
    Ok(Outcome { output, complaints, status, awaited, hung, left, took })
}

/// The serial line of a running QEMU.
struct Line {
    keyboard: Sender<Vec<u8>>,
    screen: Receiver<Vec<u8>>,
    deadline: Instant,
    output: Vec<u8>,
    seen: usize,
}

impl Line {
    /// Reads and types in threads of their own, so that neither a full pipe nor a silent guest can
    /// stop the clock.
    fn new(child: &mut Child, deadline: Instant) -> Self {
        let (keyboard, typed) = mpsc::channel::<Vec<u8>>();
        if let Some(mut pipe) = child.stdin.take() {
            thread::spawn(move || {
                for bytes in typed {
                    if pipe.write_all(&bytes).and_then(|()| pipe.flush()).is_err() {
                        return;
                    }
                }
            });
        }
        let (shown, screen) = mpsc::channel();
        if let Some(mut pipe) = child.stdout.take() {
            thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(n @ 1..) = pipe.read(&mut chunk) {
                    if shown.send(chunk[..n].to_vec()).is_err() {
                        return;
                    }
                }
            });
        }
        Self { keyboard, screen, deadline, output: Vec::new(), seen: 0 }
    }

    /// Takes what comes next, before the deadline.
    fn next(&mut self) -> std::result::Result<(), RecvTimeoutError> {
        self.next_within(Duration::MAX)
    }

    /// Takes what comes within `patience`, and before the deadline.
    fn next_within(&mut self, patience: Duration) -> std::result::Result<(), RecvTimeoutError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.output.extend(self.screen.recv_timeout(left.min(patience))?);
        Ok(())
    }

    /// Goes through the acts; gives the text that never came, if one did not.
    fn play(&mut self, acts: &[Act]) -> Option<String> {
        for act in acts {
            match act {
                // A machine that went away is noticed by who waits for it.
                Act::Send(bytes) => drop(self.keyboard.send(bytes.clone())),
                Act::Settle => {
                    while self.next_within(MOMENT).is_ok() {}
                    self.seen = self.output.len();
                }
                Act::Leave => {}
                Act::Await(text) => {
                    while !self.find(text.as_bytes()) {
                        if self.next().is_err() {
                            return Some(text.clone());
                        }
                    }
                }
            }
        }
        None
    }

    /// Whether `text` has come since the last find; steps over it if so.
    fn find(&mut self, text: &[u8]) -> bool {
        let fresh = &self.output[self.seen..];
        match fresh.windows(text.len().max(1)).position(|window| window == text) {
            Some(at) => {
                self.seen += at + text.len();
                true
            }
            None => false,
        }
    }

    /// Collects the rest; whether the output ended before the deadline.
    fn drain(&mut self) -> bool {
        loop {
            match self.next() {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

/// Waits for a child that closed its output, or ends one that did not.
fn end(child: &mut Child, closed: bool) -> Option<i32> {
    if !closed {
        // It may have gone on its own in this very moment; then there is nothing to end.
        let _ = child.kill();
    }
    child.wait().ok()?.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_complaints_and_status_are_kept_apart() {
        let outcome = play(&mut shell("echo out; echo err >&2; exit 3"), &[], LONG).unwrap();
        assert_eq!(outcome.output, b"out\n");
        assert_eq!(outcome.complaints, "err\n");
        assert_eq!((outcome.status, outcome.hung), (Some(3), false));
    }

    #[test]
    fn a_conversation_is_played_in_order() {
        let acts = [
            Act::Await("name?".into()),
            Act::Send(b"granule\n".to_vec()),
            Act::Await("hello granule".into()),
        ];
        let script = "printf 'name? '; read n; echo hello $n";
        let outcome = play(&mut shell(script), &acts, LONG).unwrap();
        assert_eq!((outcome.status, outcome.awaited), (Some(0), None));
    }

    #[test]
    fn what_never_comes_is_named() {
        let acts = [Act::Await("prompt".into())];
        let outcome = play(&mut shell("echo other"), &acts, LONG).unwrap();
        assert_eq!(outcome.awaited.as_deref(), Some("prompt"));
    }

    #[test]
    fn one_that_is_left_did_not_hang() {
        let acts = [Act::Await("done".into()), Act::Leave];
        let outcome = play(&mut shell("echo done; exec sleep 600"), &acts, LONG).unwrap();
        assert!(outcome.left && !outcome.hung);
    }

    #[test]
    fn one_that_hangs_is_ended_and_its_last_words_kept() {
        let limit = Duration::from_millis(300);
        let outcome = play(&mut shell("echo last; exec sleep 600"), &[], limit).unwrap();
        assert!(outcome.hung);
        assert_eq!(outcome.output, b"last\n");
        assert_eq!(outcome.status, None);
    }
}
