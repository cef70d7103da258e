//! The prompt, and scripts.

use crate::commands::{Context, TABLE};
use crate::console::{self, Console, Input, println};
use crate::power;
use core::fmt::Write;
use shell::{Event, LineEditor, ShellError, Show, Status, Terminal};

/// What the far side of the line is taken for.
const TERMINAL: Terminal = Terminal::new(Show::Ansi);

/// What the line editor knows an interrupt by.
const CTRL_C: u8 = 0x03;

/// The last call of the boot: runs `script` and ends, or plays the tour if wanted and prompts.
pub(crate) fn main(script: Option<&str>, tour: bool) -> ! {
    let mut context = Context::new(Terminal::new(Show::Plain), true);
    if let Some(script) = script {
        power::off(run(&mut context, script).code());
    }
    let mut context = Context::new(TERMINAL, false);
    if tour {
        run(&mut context, "tour");
    }
    println!("`help` lists the commands.");
    prompt(&mut context)
}

/// Runs one line of commands.
fn run(context: &mut Context, script: &str) -> Status {
    console::clear_interrupt();
    let status = TABLE.run(context, script, &mut Console);
    #[cfg(feature = "sanitize")]
    crate::sanitizer::summarize();
    status
}

fn prompt(context: &mut Context) -> ! {
    let mut editor = LineEditor::new(TERMINAL, "granule> ");
    let out = &mut Console;
    let mut known_lost = 0;
    editor.start(out);
    loop {
        let byte = match console::read() {
            Input::Byte(byte) => byte,
            Input::Interrupt => CTRL_C,
        };
        match editor.feed(byte, &TABLE, out) {
            Event::None => continue,
            Event::Line(line) => {
                run(context, line);
                console::clear_interrupt();
                report_lost(&mut known_lost);
            }
            Event::Overlong { refused, .. } => {
                let _ = writeln!(out, "{}", ShellError::Overlong { refused });
            }
            Event::Interrupt | Event::EndOfInput => {}
        }
        editor.start(out);
    }
}

/// Says how many bytes were typed while a command ran and found no room, if more than `known`.
fn report_lost(known: &mut u64) {
    let lost = console::lost();
    if lost > *known {
        let (new, room) = (lost - *known, shell::TYPEAHEAD_BYTES);
        println!("# {new} bytes of input are lost: while a command runs, {room} can wait");
        *known = lost;
    }
}
