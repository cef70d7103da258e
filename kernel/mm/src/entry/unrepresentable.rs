//! What does not compile, each wrong beside its right: the two differ in the one thing that is wrong,
//! so that the wrong one fails for that and for nothing else.
//!
//! # Invalidating what is not present
//! On arm64 the mark of a present-invalid leaf makes a migration entry look present to lockless readers,
//! and its type and history part of a frame number. Linux: 3a5a8d343e1c.
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PmdLevel>, space: &Context, va: VirtAddr) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.invalidate(space, va).restore();
//!     }
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PmdLevel>, space: &Context, va: VirtAddr) {
//!     if let At::Soft(entry) = table.at(0) {
//!         entry.invalidate(space, va).restore();
//!     }
//! }
//! ```
//!
//! # A table over a live leaf
//! A block and the pages of the table could be in one TLB together. It is broken first.
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(
//!     table: &Locked<'_, H, PmdLevel>, space: &Context, va: VirtAddr, fresh: Fresh,
//! ) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.invalidate(space, va).link(fresh);
//!     }
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(
//!     table: &Locked<'_, H, PmdLevel>, space: &Context, va: VirtAddr, fresh: Fresh,
//! ) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.link(fresh);
//!     }
//! }
//! ```
//!
//! # Software data over a live leaf
//! Neither: a migration entry takes the place of a broken leaf, never of a valid one.
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(
//!     table: &Locked<'_, H, PmdLevel>, space: &Context, va: VirtAddr, soft: pte::Soft,
//! ) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.invalidate(space, va).set_soft(soft);
//!     }
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(
//!     table: &Locked<'_, H, PmdLevel>, space: &Context, va: VirtAddr, soft: pte::Soft,
//! ) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.set_soft(soft);
//!     }
//! }
//! ```
//!
//! # Ignoring what was in the slot
//! Only the returned word has what hardware wrote until the exchange, and it owns what was mapped.
//! ```
//! #![deny(unused_must_use)]
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>, mm: &Mm<H>, flushed: &Flushed) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.clear().release(mm, flushed);
//!     }
//! }
//! ```
//! but not
//! ```compile_fail
//! #![deny(unused_must_use)]
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>, mm: &Mm<H>, flushed: &Flushed) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.clear();
//!     }
//! }
//! ```
//!
//! # Freeing without the proof of a flush
//! [`crate::tlb::Flushed`] comes from [`crate::Mm::flush`] alone; the other way is a gather, which flushes
//! by itself. User memory cannot be freed by number.
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>, mm: &Mm<H>, flushed: &Flushed) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.clear().release(mm, flushed);
//!     }
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>, mm: &Mm<H>, flushed: &Flushed) {
//!     if let At::Present(entry) = table.at(0) {
//!         entry.clear().release(mm);
//!     }
//! }
//! ```
//!
//! # Making the proof up
//!
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(mm: &Mm<H>, space: &Context, range: abi::VirtRange) -> Flushed {
//!     mm.flush(space, range, abi::Level::Pte)
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(mm: &Mm<H>, space: &Context, range: abi::VirtRange) -> Flushed {
//!     Flushed(())
//! }
//! ```
//!
//! # The frame of what is not present
//! The payload of a migration entry lies where a leaf has its output address, and looks right until
//! its history is stored above it.
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>) -> Option<Pfn> {
//!     match table.at(0) {
//!         At::Present(entry) => Some(entry.leaf().pfn()),
//!         _ => None,
//!     }
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>) -> Option<Pfn> {
//!     match table.at(0) {
//!         At::Soft(entry) => Some(entry.leaf().pfn()),
//!         _ => None,
//!     }
//! }
//! ```
//!
//! # Storing without the lock
//! A handle borrows the lock of its table.
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: Locked<'_, H, PteLevel>) {
//!     if let At::Soft(entry) = table.at(0) {
//!         entry.clear();
//!     }
//!     drop(table);
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: Locked<'_, H, PteLevel>) {
//!     if let At::Soft(entry) = table.at(0) {
//!         drop(table);
//!         entry.clear();
//!     }
//! }
//! ```
//!
//! # Using a handle twice
//! What was read is used up by the step that it led to.
//! ```
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>) {
//!     if let At::Soft(entry) = table.at(0) {
//!         entry.clear();
//!     }
//! }
//! ```
//! but not
//! ```compile_fail
//! # extern crate granule_mm as mm;
//! # use mm::entry::{At, Fresh, Locked, PmdLevel, PteLevel};
//! # use mm::{Hardware, Mm, tlb::{Context, Flushed}};
//! # use abi::{Pfn, VirtAddr};
//! fn f<H: Hardware>(table: &Locked<'_, H, PteLevel>) {
//!     if let At::Soft(entry) = table.at(0) {
//!         entry.clear();
//!         entry.clear();
//!     }
//! }
//! ```
