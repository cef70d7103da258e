//! The nodes of a validated tree and their properties.
//!
//! A [`Node`] knows its ancestors (a device's address and its interrupt parent depend on all of
//! them), so it is a small array of offsets rather than one offset.
//!
//! Source: Devicetree Specification, "Structure Block". Linux walks the blob the same way in
//! `of_scan_flat_dt`.

use crate::token::{Token, token_at, word_at};
use crate::tree::MAX_DEPTH;
use crate::value::{Status, Strings};
use fdt::node::NodeProperty;

/// The two blocks that a node is read from.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<'a> {
    pub(crate) structure: &'a [u8],
    pub(crate) strings: &'a [u8],
}

impl<'a> Blocks<'a> {
    /// The property name at an offset of the strings block: printable ASCII, closed by a zero.
    pub(crate) fn property_name(self, offset: u32) -> Option<&'a str> {
        let rest = self.strings.get(usize::try_from(offset).ok()?..)?;
        let name = rest.get(..rest.iter().position(|byte| !byte.is_ascii_graphic())?)?;
        let is_closed = rest.get(name.len()) == Some(&0);
        core::str::from_utf8(name).ok().filter(|name| is_closed && !name.is_empty())
    }

    /// Whether that name is `name`.
    fn is_name(self, offset: u32, name: &[u8]) -> bool {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.strings.get(offset..));
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// The nodes of a tree, depth first.
pub struct Nodes<'a> {
    blocks: Blocks<'a>,
    at: usize,
    path: [u32; MAX_DEPTH],
    depth: usize,
}

impl<'a> Nodes<'a> {
    pub(crate) const fn new(blocks: Blocks<'a>) -> Self {
        Self { blocks, at: 0, path: [0; MAX_DEPTH], depth: 0 }
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        loop {
            // Each turn moves `at` forward by at least four bytes, so the walk ends with the block.
            let (token, next) = token_at(self.blocks.structure, self.at).ok()?;
            let begin = core::mem::replace(&mut self.at, next);
            match token {
                Token::Begin(_) => {
                    *self.path.get_mut(self.depth)? = u32::try_from(begin).ok()?;
                    self.depth = self.depth.saturating_add(1);
                    return Some(Node { blocks: self.blocks, path: self.path, depth: self.depth });
                }
                Token::End => self.depth = self.depth.saturating_sub(1),
                Token::Property { .. } | Token::Nop => {}
                Token::Finish => return None,
            }
        }
    }
}

/// A node, and the way to it from the root.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    blocks: Blocks<'a>,
    /// Offsets of the begin tokens from the root to this node.
    path: [u32; MAX_DEPTH],
    /// How many of them count; at least one.
    depth: usize,
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.offset() == other.offset()
    }
}

impl<'a> Node<'a> {
    /// The offset of its begin token in the structure block: what tells it from all others.
    pub fn offset(&self) -> u32 {
        self.path.get(self.depth.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// How many nodes lie above it; 0 for the root.
    pub fn level(&self) -> usize {
        self.depth.saturating_sub(1)
    }

    /// Its name with the unit address; `/` for the root.
    pub fn name(&self) -> &'a str {
        let name = match token_at(self.blocks.structure, self.offset() as usize) {
            Ok((Token::Begin(name), _)) => core::str::from_utf8(name).unwrap_or_default(),
            _ => "",
        };
        if self.depth == 1 { "/" } else { name }
    }

    /// Its name without the unit address.
    pub fn base_name(&self) -> &'a str {
        self.name().split('@').next().unwrap_or_default()
    }

    /// The node it lies in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let depth = self.depth.checked_sub(1).filter(|&depth| depth > 0)?;
        Some(Self { depth, ..*self })
    }

    /// Itself, then what it lies in, up to the root.
    pub fn ancestry(self) -> impl Iterator<Item = Self> {
        core::iter::successors(Some(self), Self::parent)
    }

    /// Whether an absolute path leads here.
    pub fn is_at(self, path: &str) -> bool {
        let root = Self { depth: 1, ..self };
        match path.strip_prefix('/') {
            Some("") => self == root,
            Some(names) => {
                // Most nodes are at another level: no need to look at their names.
                let names_count = names.bytes().filter(|&byte| byte == b'/').count();
                names_count.checked_add(1) == Some(self.level()) && self.is_below_names(root, names)
            }
            None => false,
        }
    }

    /// Whether `below`, which starts with a slash, leads here from `base`.
    pub(crate) fn is_below(self, base: Self, below: &str) -> bool {
        below.strip_prefix('/').is_some_and(|below| self.is_below_names(base, below))
    }

    /// Compares names from the end, upwards, until the base is reached.
    fn is_below_names(self, base: Self, names: &str) -> bool {
        let mut at = Some(self);
        for wanted in names.rsplit('/') {
            let Some(node) = at.filter(|&node| node != base) else { return false };
            let name = if wanted.contains('@') { node.name() } else { node.base_name() };
            if name != wanted {
                return false;
            }
            at = node.parent();
        }
        at == Some(base)
    }

    /// Its properties, in the order of the blob.
    pub fn properties(&self) -> Properties<'a> {
        let begin = self.offset() as usize;
        let at = match token_at(self.blocks.structure, begin) {
            Ok((Token::Begin(_), next)) => next,
            _ => usize::MAX,
        };
        Properties { blocks: self.blocks, at }
    }

    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<NodeProperty<'a>> {
        // Not by way of the iterator: most names are not the wanted one, and need no decoding.
        let mut properties = self.properties();
        while let Some((name_offset, value)) = properties.next_raw() {
            if self.blocks.is_name(name_offset, name.as_bytes()) {
                return Some(NodeProperty { name: self.blocks.property_name(name_offset)?, value });
            }
        }
        None
    }

    /// The strings of a property; none where it is absent or not made of strings.
    pub fn strings(&self, name: &str) -> Strings<'a> {
        Strings::new(self.property(name).map_or(&[], |property| property.value))
    }

    /// The first string of a property.
    pub fn string(&self, name: &str) -> Option<&'a str> {
        self.strings(name).next()
    }

    /// A property of exactly one cell.
    pub fn word(&self, name: &str) -> Option<u32> {
        let value = self.property(name)?.value;
        word_at(value, 0).filter(|_| value.len() == 4)
    }

    /// A property of one or two cells.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.property(name)?.as_usize().map(|number| number as u64)
    }

    /// Whether `compatible` lists one of `kinds`.
    pub fn is_compatible(&self, kinds: &[&str]) -> bool {
        self.strings("compatible").any(|kind| kinds.contains(&kind))
    }

    /// The number that others refer to it by.
    pub fn phandle(&self) -> Option<u32> {
        let mut properties = self.properties();
        while let Some((name, value)) = properties.next_raw() {
            let is_phandle = |name_of: &[u8]| self.blocks.is_name(name, name_of);
            // The second name is what old compilers wrote.
            if value.len() == 4 && (is_phandle(b"phandle") || is_phandle(b"linux,phandle")) {
                return word_at(value, 0).filter(|phandle| (1..u32::MAX).contains(phandle));
            }
        }
        None
    }

    /// What its own `status` says.
    pub fn status(&self) -> Status {
        match self.property("status") {
            None => Status::Okay,
            Some(_) => Status::from_word(self.string("status").unwrap_or_default()),
        }
    }

    /// Whether it and all it lies in are to be used.
    pub fn is_enabled(self) -> bool {
        self.ancestry().all(|node| node.status() == Status::Okay)
    }
}

/// The properties of a node.
pub struct Properties<'a> {
    blocks: Blocks<'a>,
    at: usize,
}

impl<'a> Properties<'a> {
    /// The next property: the offset of its name, and its value.
    fn next_raw(&mut self) -> Option<(u32, &'a [u8])> {
        loop {
            let (token, next) = token_at(self.blocks.structure, self.at).ok()?;
            match token {
                Token::Property { name_offset, value } => {
                    self.at = next;
                    return Some((name_offset, value));
                }
                Token::Nop => self.at = next,
                Token::Begin(_) | Token::End | Token::Finish => return None,
            }
        }
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = NodeProperty<'a>;

    fn next(&mut self) -> Option<NodeProperty<'a>> {
        let (name_offset, value) = self.next_raw()?;
        Some(NodeProperty { name: self.blocks.property_name(name_offset)?, value })
    }
}
