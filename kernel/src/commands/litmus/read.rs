//! A text typed or pasted at the prompt.

use super::texts::END_LINE;
use crate::console::{self, Input};
use alloc::string::String;
use core::fmt::Write;
use shell::Failure;

/// The longest text that is taken.
const MOST: usize = 16 << 10;

/// Reads a text, up to an empty line behind its condition or a line of a dot.
///
/// No editing but a backspace: it is meant for pastes. An empty line ends nothing as long as no condition
/// was seen, for files have some.
pub(super) fn text(out: &mut dyn Write) -> Result<String, Failure> {
    writeln!(out, "# the test's text, please; an empty line at its end, or one with a dot")?;
    let mut text = String::new();
    let mut line = 0;
    loop {
        let byte = match console::read() {
            Input::Interrupt => return Err(Failure::Interrupted),
            Input::Byte(byte) => byte,
        };
        match byte {
            b'\r' | b'\n' => {
                writeln!(out)?;
                let typed = &text[line..];
                if typed.trim() == END_LINE || typed.trim().is_empty() && is_complete(&text) {
                    text.truncate(line);
                    return Ok(text);
                }
                text.push('\n');
                line = text.len();
            }
            0x08 | 0x7f if text.len() > line => {
                text.pop();
                out.write_str("\x08 \x08")?;
            }
            b' '..=b'~' | b'\t' => {
                let byte = if byte == b'\t' { ' ' } else { char::from(byte) };
                text.push(byte);
                out.write_char(byte)?;
            }
            _ => {}
        }
        if text.len() > MOST {
            writeln!(out, "# more than {MOST} bytes are no litmus test")?;
            return Err(Failure::Failed);
        }
    }
}

/// Whether a condition has come.
fn is_complete(text: &str) -> bool {
    let starts = |line: &str| {
        let line = line.trim_start();
        ["exists", "~exists", "forall"].iter().any(|word| line.starts_with(word))
    };
    text.lines().any(starts)
}
