//! The tree in words, for the shell: what is really in the blob, whatever we made of it.
//!
//! Values print as strings where they look like strings, as cells where they come in words, as
//! bytes else, and no more than a line or so of each.

use crate::node::Node;
use crate::tree::Tree;
use crate::value::{Cells, Strings};
use core::fmt::{self, Write};
use fdt::node::NodeProperty;

/// Cells, bytes or strings printed of one value.
const ITEMS_MAX: usize = 16;
/// Characters printed of one string.
const CHARS_MAX: usize = 120;

/// How much of each node to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Its name.
    Names,
    /// Its name and properties.
    Properties,
}

impl Tree<'_> {
    /// Prints the nodes that `filter` selects, and all below them; says how many were selected.
    ///
    /// A filter that starts with a slash is a path, or the beginning of one as far as whole names
    /// go; another is a part of a node's name, or the whole of a `compatible` string. An empty
    /// filter selects the root.
    #[inline(never)]
    pub fn dump(
        &self,
        out: &mut dyn Write,
        filter: &str,
        detail: Detail,
    ) -> Result<usize, fmt::Error> {
        let mut selected = 0usize;
        // The innermost node selected at the moment: all below it is printed without asking.
        let mut within: Option<Node<'_>> = None;
        for node in self.nodes() {
            let top = match within.filter(|top| node.level() > top.level()) {
                Some(top) => top,
                None if matches(node, filter) => {
                    selected = selected.saturating_add(1);
                    node
                }
                None => {
                    within = None;
                    continue;
                }
            };
            within = Some(top);
            let depth = node.level().saturating_sub(top.level());
            match depth {
                0 => write_path(out, node)?,
                _ => indented(out, depth, node.name())?,
            }
            out.write_char('\n')?;
            if detail == Detail::Properties {
                for property in node.properties() {
                    indented(out, depth.saturating_add(1), property.name)?;
                    write_value(out, property)?;
                    out.write_char('\n')?;
                }
            }
        }
        Ok(selected)
    }
}

fn matches(node: Node<'_>, filter: &str) -> bool {
    if filter.is_empty() {
        return node.level() == 0;
    }
    if filter.starts_with('/') {
        let path = filter.trim_end_matches('/');
        return node.is_at(if path.is_empty() { "/" } else { path });
    }
    node.name().contains(filter) || node.is_compatible(&[filter])
}

/// The absolute path of a node.
fn write_path(out: &mut dyn Write, node: Node<'_>) -> fmt::Result {
    if node.level() == 0 {
        return out.write_char('/');
    }
    for level in 1..=node.level() {
        let name = node.ancestry().find(|above| above.level() == level).map(|above| above.name());
        write!(out, "/{}", name.unwrap_or_default())?;
    }
    Ok(())
}

fn indented(out: &mut dyn Write, depth: usize, name: &str) -> fmt::Result {
    for _ in 0..depth {
        out.write_str("  ")?;
    }
    out.write_str(name)
}

fn write_value(out: &mut dyn Write, property: NodeProperty<'_>) -> fmt::Result {
    let value = property.value;
    if value.is_empty() {
        return Ok(());
    }
    out.write_str(" =")?;
    if is_text(value) {
        for string in Strings::new(value).take(ITEMS_MAX) {
            // is_text has seen to it that every byte is a printable character of its own.
            let shown = string.get(..CHARS_MAX).unwrap_or(string);
            write!(out, " {shown:?}")?;
            more(out, string.len().saturating_sub(shown.len()), "characters")?;
        }
        let strings = value.iter().filter(|&&byte| byte == 0).count();
        return more(out, strings.saturating_sub(ITEMS_MAX), "strings");
    }
    if value.len().is_multiple_of(4) {
        let mut cells = Cells::new(value);
        for index in 0..ITEMS_MAX {
            let Some(word) = cells.word() else { break };
            write!(out, "{}{word:#x}", if index == 0 { " <" } else { " " })?;
        }
        out.write_char('>')?;
        return more(out, (value.len() / 4).saturating_sub(ITEMS_MAX), "cells");
    }
    out.write_str(" [")?;
    for (index, byte) in value.iter().take(ITEMS_MAX).enumerate() {
        write!(out, "{}{byte:02x}", if index == 0 { "" } else { " " })?;
    }
    out.write_char(']')?;
    more(out, value.len().saturating_sub(ITEMS_MAX), "bytes")
}

fn more(out: &mut dyn Write, left: usize, what: &str) -> fmt::Result {
    if left > 0 { write!(out, " and {left} more {what}") } else { Ok(()) }
}

/// Whether a value looks like strings: printable, each closed, none empty.
fn is_text(value: &[u8]) -> bool {
    value.last() == Some(&0)
        && value.first() != Some(&0)
        && value.iter().all(|&byte| byte == 0 || byte == b' ' || byte.is_ascii_graphic())
        && !value.windows(2).any(|pair| pair == [0, 0])
}
