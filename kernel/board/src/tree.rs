//! The validated blob, its nodes and their properties.
//!
//! What having a [`Tree`] tells: its blocks lie inside the blob, its tokens nest, its names are
//! printable ASCII, no node is deeper than [`MAX_DEPTH`], its reservations end. The readers below
//! still check every bound: a mistake in the validator would cost an answer, not the kernel.
//!
//! A [`Node`] knows its ancestors (a device's address and interrupt parent depend on all of them),
//! so it is a small array of offsets rather than one.
//!
//! Source: Devicetree Specification, chapter "Flattened Devicetree (DTB) Format". Linux walks the
//! blob the same way in `of_scan_flat_dt`.

use crate::error::{Block, TokenFault, TreeError};
use crate::token::{Token, token_at, word_at};
use crate::value::{Status, Strings};
use abi::{PhysAddr, PhysRange};
use fdt::node::NodeProperty;
use fdt::{Fdt, FdtError};

/// Nodes may nest this deep, the root included. Trees in the wild reach about eight.
pub const MAX_DEPTH: usize = 32;

/// The largest blob we read: Linux's limit on arm64, 2 MiB.
pub const MAX_BYTES: u32 = 2 << 20;

/// Bytes of a header of version 17.
const HEADER_BYTES: usize = 40;

/// A device tree whose structure has been checked from end to end.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    header: Fdt<'a>,
    blocks: Blocks<'a>,
}

/// The two blocks that a node is read from.
#[derive(Clone, Copy)]
struct Blocks<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Tree<'a> {
    /// Checks the blob at the start of `dtb`; bytes past its own length are ignored.
    pub fn new(dtb: &'a [u8]) -> Result<Self, TreeError> {
        if dtb.len() < HEADER_BYTES {
            return Err(TreeError::TooShort { bytes: dtb.len() });
        }
        let word = |index: usize| word_at(dtb, index.saturating_mul(4)).unwrap_or_default();
        let header = Fdt::new(dtb).map_err(|error| match error {
            FdtError::BadMagic | FdtError::BadPtr => TreeError::Magic { found: word(0) },
            FdtError::BufferTooSmall => TreeError::Cut { total: word(1), given: dtb.len() },
        })?;
        let total = word(1);
        if total > MAX_BYTES {
            return Err(TreeError::TooLarge { total });
        }
        let (version, readable_as) = (word(5), word(6));
        if version < 17 || readable_as > 17 {
            return Err(TreeError::Version { version, readable_as });
        }
        let blob = dtb.get(..header.total_size()).unwrap_or_default();
        let block = |block, offset: u32, bytes: u32, align: u32| {
            let end = offset.saturating_add(bytes) as usize;
            let found = blob.get(offset as usize..end);
            found
                .filter(|_| offset as usize >= HEADER_BYTES && offset.is_multiple_of(align))
                .ok_or(TreeError::Block { block, offset, bytes })
        };
        let structure = block(Block::Structure, word(2), word(9), 4)?;
        let strings = block(Block::Strings, word(3), word(8), 1)?;
        let reserved = word(4);
        let rest = u32::try_from(blob.len()).unwrap_or(total).saturating_sub(reserved);
        check_reservations(block(Block::Reservations, reserved, rest, 8)?, reserved)?;
        let blocks = Blocks { structure, strings };
        check_structure(blocks)?;
        Ok(Self { header, blocks })
    }

    /// Bytes of the blob by its own account.
    pub fn bytes(&self) -> usize {
        self.header.total_size()
    }

    /// The memory reservation block: ranges that were in use when the blob was made.
    pub fn reservations(&self) -> impl Iterator<Item = PhysRange> + 'a {
        self.header.memory_reservations().map(|entry| {
            let start = PhysAddr(entry.address() as usize as u64);
            PhysRange::from_size(start, entry.size() as u64)
        })
    }

    /// Every node, parents before children, in the order of the blob.
    pub fn nodes(&self) -> Nodes<'a> {
        Nodes { blocks: self.blocks, at: 0, path: [0; MAX_DEPTH], depth: 0 }
    }

    /// The node at `path`: absolute, or an alias and a path below it. Where the path leaves out a
    /// unit address, the first node of that name.
    pub fn node_at(&self, path: &str) -> Option<Node<'a>> {
        if path.starts_with('/') {
            return self.nodes().find(|node| node.is_at(path));
        }
        let (alias, below) = path.find('/').map_or((path, ""), |slash| path.split_at(slash));
        let target = self.node_at("/aliases")?.string(alias)?;
        let base = self.nodes().find(|node| target.starts_with('/') && node.is_at(target))?;
        if below.is_empty() {
            return Some(base);
        }
        let mut nodes = self.nodes();
        nodes.find(|node| node.depth > base.depth && node.is_below(base, below))
    }

    /// The node that others refer to by this number.
    pub fn by_phandle(&self, phandle: u32) -> Option<Node<'a>> {
        self.nodes().find(|node| node.phandle() == Some(phandle))
    }
}

/// The reservations must end before the blob does.
fn check_reservations(entries: &[u8], offset: u32) -> Result<(), TreeError> {
    let closed = entries.chunks_exact(16).any(|entry| entry.iter().all(|&byte| byte == 0));
    if closed { Ok(()) } else { Err(TreeError::ReservationsOpen { offset }) }
}

/// Walks the whole structure block once.
fn check_structure(blocks: Blocks<'_>) -> Result<(), TreeError> {
    let (mut at, mut depth, mut rooted) = (0usize, 0usize, false);
    // Whether the innermost open node already has a child: no property may follow one.
    let mut has_child = false;
    loop {
        let wrong = |fault| Err(TreeError::Token { at, fault });
        let (token, next) = match token_at(blocks.structure, at) {
            Ok(read) => read,
            Err(fault) => return wrong(fault),
        };
        match token {
            Token::Begin(_) if depth == 0 && rooted => return wrong(TokenFault::SecondRoot),
            Token::Begin(_) if depth >= MAX_DEPTH => return wrong(TokenFault::TooDeep),
            Token::Begin(name) => {
                let is_plain = name.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'/');
                if !is_plain || name.is_empty() != (depth == 0) {
                    return wrong(TokenFault::NodeName);
                }
                (rooted, has_child) = (true, false);
                depth = depth.saturating_add(1);
            }
            Token::End if depth == 0 => return wrong(TokenFault::StrayEnd),
            Token::End => {
                has_child = true;
                depth = depth.saturating_sub(1);
            }
            Token::Property { .. } if depth == 0 || has_child => {
                return wrong(TokenFault::StrayProperty);
            }
            Token::Property { name_offset, .. } => {
                if blocks.property_name(name_offset).is_none() {
                    return wrong(TokenFault::PropertyName { offset: name_offset });
                }
            }
            Token::Nop => {}
            Token::Finish if depth == 0 && rooted => return Ok(()),
            Token::Finish => return wrong(TokenFault::EarlyFinish { depth }),
        }
        at = next;
    }
}

impl<'a> Blocks<'a> {
    /// The property name at an offset of the strings block: printable ASCII, closed by a zero.
    fn property_name(self, offset: u32) -> Option<&'a str> {
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
    fn is_below(self, base: Self, below: &str) -> bool {
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
