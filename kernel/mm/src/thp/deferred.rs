//! Folios that are only partly mapped: remembered, and split when memory is short.
//!
//! Corresponds to Linux's `deferred_split_folio` and `deferred_split_scan`.

use crate::frame::Counts;
use crate::{Hardware, Mm};
use abi::Pfn;

/// The folios to be split when memory is short.
#[doc(alias = "deferred_split_queue")]
pub(crate) struct Deferred {}

impl Deferred {
    pub(crate) const fn new() -> Self {
        Self {}
    }
}

impl<H: Hardware> Mm<H> {
    /// Mappings of the folio went and `left` remain: if it is partly mapped now, it is remembered.
    #[doc(alias = "deferred_split_folio")]
    #[inline]
    pub(crate) fn note_partial(&self, head: Pfn, left: Counts) {
        let _ = (head, left);
    }

    /// A folio on the list is about to be freed.
    #[doc(alias = "folio_unqueue_deferred_split")]
    pub(crate) fn deferred_forget(&self, head: Pfn) {
        let _ = head;
    }
}
