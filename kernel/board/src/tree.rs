//! The validated blob.
//!
//! What having a [`Tree`] tells: its blocks lie inside the blob, its tokens nest, its names are
//! printable ASCII, no node is deeper than [`MAX_DEPTH`], its reservations end. The readers still
//! check every bound: a mistake in this validator would cost an answer, not the kernel.
//!
//! Source: Devicetree Specification, chapter "Flattened Devicetree (DTB) Format".

use crate::error::{Block, TokenFault, TreeError};
use crate::node::{Blocks, Node, Nodes};
use crate::token::{Token, token_at, word_at};
use abi::{PhysAddr, PhysRange};
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

impl<'a> Tree<'a> {
    /// Checks the blob at the start of `dtb`; bytes past its own length are ignored.
    #[inline(never)]
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
        Nodes::new(self.blocks)
    }

    /// The node at `path`: absolute, or an alias and a path below it. Where the path leaves out a
    /// unit address, the first node of that name.
    #[inline(never)]
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
        nodes.find(|node| node.level() > base.level() && node.is_below(base, below))
    }

    /// The node that others refer to by this number.
    #[inline(never)]
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
