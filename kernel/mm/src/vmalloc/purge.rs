//! From lazy to ready: one flush for all that was given up.

use super::node::{Node, Piece};
use super::ranges::{Ranges, leaves};
use super::slots::{NONE, SlotId};
use super::{Vmalloc, block};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note};
use abi::VirtRange;
use pte::{Invalidation, Scope, Target, Tlbi};
use sync::SpinLock;
use sync::atomic::Ordering;

/// As many CPUs as there can be.
const MAX_NODES: usize = 64;
/// How many areas are looked at with a node's lock held.
const SLICE: usize = 64;

impl<H: Hardware> Mm<H> {
    /// Flushes what is lazy and makes it ready, unless somebody else is at it.
    #[doc(alias = "drain_vmap_area_work")]
    #[cold]
    #[inline(never)]
    pub(super) fn purge_lazy(&self) {
        if let Some(_one) = self.vmalloc.purge.try_lock(&self.hw) {
            self.decay(false);
            self.purge(&mut Ranges::new());
        }
    }

    /// Flushes what is lazy, and gives what is ready back to the gaps, so that it fits for any size.
    ///
    /// Context: the purge's lock is held.
    #[doc(alias = "reclaim_and_purge_vmap_areas")]
    pub(super) fn purge_all(&self) {
        let mut ranges = Ranges::new();
        self.collect_blocks(block::ANY, &mut ranges);
        self.purge(&mut ranges);
        self.decay(true);
    }

    /// Gives ready areas back to the gaps: a quarter of each size, or all.
    fn decay(&self, all: bool) {
        for node in &self.vmalloc.nodes {
            let mut from = 0;
            loop {
                let found = node.lock(&self.hw).surplus(from, all);
                let Some((pool, surplus)) = found else { break };
                for _ in 0..surplus {
                    let mut node = node.lock(&self.hw);
                    let Some(piece) = node.wither(pool) else { break };
                    self.vmalloc.gaps.lock(&self.hw).give(piece.start, piece.pages());
                }
                from = pool + 1;
            }
        }
    }

    /// When it returns, no CPU has a translation of anything that was given up before it was called: areas, pieces of
    /// blocks that have room, and of those that have none.
    ///
    /// Context: may sleep; no spin lock is held.
    #[doc(alias = "vm_unmap_aliases")]
    pub fn unmap_aliases(&self) {
        self.unmap_aliases_and(&mut Ranges::new());
    }

    /// As [`Mm::unmap_aliases`]; and what was taken away in `also` is flushed with the rest.
    #[doc(alias = "_vm_unmap_aliases")]
    pub(super) fn unmap_aliases_and(&self, also: &mut Ranges) {
        let one = self.vmalloc.purge.lock(&self.hw);
        self.collect_blocks(block::MOSTLY_USED, also);
        let _one = (!self.commits(Mutant::VmapFlushOvertaken)).then_some(one);
        self.purge(also);
    }

    /// Flushes what is lazy, and `also`; what was lazy is ready afterwards.
    ///
    /// Context: the purge's lock is held until the flush is complete: who finds nothing lazy because another
    /// has just collected it must wait for the other's flush.
    #[doc(alias = "__purge_vmap_area_lazy")]
    fn purge(&self, also: &mut Ranges) {
        let complete = self.vmalloc.complete.load(Ordering::SeqCst);
        let mut taken = [NONE; MAX_NODES];
        for (node, taken) in self.vmalloc.nodes.iter().zip(&mut taken) {
            let head = core::mem::replace(&mut node.lock(&self.hw).lazy, NONE);
            *taken = head;
            self.each(node, head, |_, _, piece| {
                // What began to be flushed after it was given up is flushed.
                if piece.tag >= complete {
                    let short = u64::from(self.commits(Mutant::PurgeOneShort));
                    also.add(Vmalloc::range(piece.start, piece.used() - short));
                }
            });
        }
        self.flush_kernel(also);
        for (node, head) in self.vmalloc.nodes.iter().zip(taken) {
            let mut pages = 0;
            self.each(node, head, |node, id, piece| {
                pages += piece.pages();
                let range = Vmalloc::range(piece.start, piece.pages());
                self.hw.note(Note::Done(self.vmalloc.root, range));
                if node.make_ready(id).is_some() {
                    self.vmalloc.gaps.lock(&self.hw).give(piece.start, piece.pages());
                }
            });
            self.vmalloc.lazy.fetch_sub(pages, Ordering::Relaxed);
        }
    }

    /// Each area of a list that only the purge knows, some at a time with the node's lock held.
    fn each(
        &self,
        node: &SpinLock<Node>,
        head: SlotId,
        mut see: impl FnMut(&mut Node, SlotId, Piece),
    ) {
        let mut id = head;
        while id != NONE {
            let mut node = node.lock(&self.hw);
            for _ in 0..SLICE {
                if id == NONE {
                    break;
                }
                let (piece, behind) = node.given_up(id);
                see(&mut node, id, piece);
                id = behind;
            }
        }
    }

    /// Makes clear for all CPUs what is clear in the tables of `ranges`. Between what is clear there may lie what is
    /// not: nothing is promised of that.
    #[doc(alias = "flush_tlb_kernel_range")]
    pub(super) fn flush_kernel(&self, ranges: &Ranges) {
        self.flush_ranges(ranges, leaves);
    }

    /// As [`Mm::flush_kernel`], where `what` says what has to go from a range.
    pub(super) fn flush_ranges(&self, ranges: &Ranges, what: fn(VirtRange) -> Invalidation) {
        if ranges.is_empty() {
            return;
        }
        let scope = Scope::InnerShareable;
        match ranges.plan(what, self.hw.caps(), &self.cost) {
            Some(parts) => {
                self.publish(scope);
                parts.iter().for_each(|range| self.issue(&what(*range)));
                self.complete(scope);
            }
            None => {
                let begun = self.vmalloc.begun.fetch_add(1, Ordering::SeqCst) + 1;
                self.publish(scope);
                self.tlbi(Tlbi { target: Target::All, scope });
                self.complete(scope);
                self.vmalloc.complete.fetch_max(begun, Ordering::SeqCst);
            }
        }
    }
}
