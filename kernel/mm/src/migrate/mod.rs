//! Moving folios to other frames while they are in use.
//!
//! A [`Batch`] moves many folios with one flush. For each of them:
//!
//! | step | undone, if a later one fails, by |
//! | --- | --- |
//! | take a reference and the folio's lock; look whether anybody else holds it | - |
//! | take a frame of the same size, locked, that nobody knows | freeing it |
//! | make migration entries of the mappings | the last step, to where they were |
//! | *all together:* flush, once | - |
//! | freeze: all references at once, if there is none but the caller's | - |
//! | copy; the new folio takes over name and flags | nothing fails from here on |
//! | put mappings back, of the new pages | |
//! | unlock both, wake who waits, free the old frame | |
//!
//! # Why the copy is the content
//! After the flush no CPU reaches the frame through an entry, and whoever faults on one sleeps until the
//! folio is unlocked. A device, or whoever reads and writes past the tables, holds a reference or a pin:
//! one that was there before makes the freeze fail; one that comes meanwhile finds the entry changed
//! when it looks again, or the references frozen. So nobody writes from the freeze on, and only
//! then is anything copied. (Linux copies first and freezes later, and may copy in vain.)
//!
//! # Who waits for whom
//! The first folio's lock may be waited for; of the others only what is free at once is taken, for two
//! batches may meet in two orders. What could not be moved is told with its reason, and is as it was.
//!
//! Whoever moves pages by their addresses has no lock and may wait: what others had in hand for a moment is
//! tried again by itself, some times over. A pin is not for a moment, and is not waited for.
//!
//! | file | concern |
//! | --- | --- |
//! | `mod` | errors; moving what one space maps |
//! | `batch` | the steps |
//!
//! Corresponds to Linux's `migrate_pages_batch`, `migrate_folio_unmap`, `migrate_folio_move` and
//! `move_pages(2)`.

mod batch;

pub(crate) use batch::Batch;

use crate::frame::{Flag, FolioRef, Near, OutOfMemory};
use crate::rmap::NO_HEAP;
use crate::space::Space;
use crate::thp::There;
use crate::{Hardware, Mm};
use abi::{Node, Order, Pfn, VirtAddr};
use alloc::vec::Vec;
use core::fmt;

/// Why a folio was not moved. Its mappings, counts and contents are as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the folio is where it was"]
pub enum MigrateError {
    /// No folio is mapped there.
    NotMapped,
    /// It is no anonymous memory: a file's, or zeros that everybody shares.
    NotAnonymous,
    /// Somebody holds it besides its mappings and the caller: a pin, a reference, another's work. Try again
    /// later, or leave it.
    Busy {
        /// References that it has.
        refs: u32,
        /// References that its mappings and the caller have.
        expected: u32,
    },
    /// Somebody works on it. Try again later.
    Locked,
    /// There is no memory to move it to.
    OutOfMemory(OutOfMemory),
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMapped => write!(f, "no folio is mapped there"),
            Self::NotAnonymous => write!(f, "it is no anonymous memory"),
            Self::Busy { refs, expected } => {
                write!(f, "it has {refs} references, and {expected} are accounted for")
            }
            Self::Locked => write!(f, "it is locked"),
            Self::OutOfMemory(oom) => oom.fmt(f),
        }
    }
}

impl core::error::Error for MigrateError {}

impl From<OutOfMemory> for MigrateError {
    fn from(oom: OutOfMemory) -> Self {
        Self::OutOfMemory(oom)
    }
}

/// Where folios are moved to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// Anywhere else.
    Anywhere,
    /// Memory of this node; what is there already stays.
    #[doc(alias("MPOL_BIND", "__GFP_THISNODE"))]
    Node(Node),
    /// Memory in which a folio may stay for as long as somebody likes; what is in such already stays.
    #[doc(alias = "is_longterm_pinnable_folio")]
    Pinnable,
}

/// What became of one page that was to be moved.
pub type Moved = Result<Pfn, MigrateError>;

/// How often a folio is tried again that somebody held or had locked.
#[doc(alias = "NR_MAX_MIGRATE_PAGES_RETRY")]
const RETRIES: u32 = 10;

impl<'m, H: Hardware> Space<'m, H> {
    /// Moves the folios that are mapped at `pages`, each with all its pages, and says of each where its
    /// page is now, or why it was left. Several addresses of one folio move it once.
    ///
    /// One flush for at most [`Batch::MOST`] folios; those that somebody held or had locked are tried
    /// again, each with a flush of its own, but not what is pinned. Without memory for the batch itself
    /// nothing is moved.
    ///
    /// Context: thread, may sleep on folios' locks, on the spaces that may map them, and on who changes
    /// them; holds no lock, no claim and no reference to what is to be moved.
    ///
    /// # Panics
    /// When there are fewer places for answers than pages: the caller's mistake.
    #[doc(alias = "do_pages_move")]
    pub fn move_pages(
        &self,
        pages: &[VirtAddr],
        to: Destination,
        moved: &mut [Moved],
    ) -> Result<(), OutOfMemory> {
        let moved = &mut moved[..pages.len()];
        let mut batch = Batch::new(self.mm(), pages.len())?;
        let most = pages.len().min(Batch::<H>::MOST);
        // Of each page of a batch: which folio, and which page of it.
        let (mut joined, mut places) = (Vec::new(), Vec::new());
        joined.try_reserve_exact(most).map_err(|_| NO_HEAP)?;
        places.try_reserve_exact(most).map_err(|_| NO_HEAP)?;
        for (pages, moved) in pages.chunks(most.max(1)).zip(moved.chunks_mut(most.max(1))) {
            joined.extend(pages.iter().map(|page| match self.there(*page) {
                There::Folio(folio) => self.join(&mut batch, folio, to),
                There::Moving(_) => Err(MigrateError::Locked),
                There::Nothing => Err(MigrateError::NotMapped),
            }));
            batch.run(|place| places.push(place));
            for (moved, joined) in moved.iter_mut().zip(joined.drain(..)) {
                *moved = match joined {
                    Ok(Joined::Moves(folio, page)) => places[folio].map(|head| head + page),
                    Ok(Joined::Stays(page)) => Ok(page),
                    Err(error) => Err(error),
                };
            }
            places.clear();
        }
        if moved.iter().any(may_pass) {
            self.move_again(&mut batch, pages, to, moved);
        }
        Ok(())
    }

    /// Tries again what may pass, until nothing does any more or it has taken too long. The batch is empty
    /// before and after, so that the lock of each folio is waited for.
    #[doc(alias = "migrate_pages_sync")]
    #[cold]
    #[inline(never)]
    fn move_again(
        &self,
        batch: &mut Batch<'m, H>,
        pages: &[VirtAddr],
        to: Destination,
        moved: &mut [Moved],
    ) {
        let mm = self.mm();
        for _ in 0..RETRIES {
            let mut passing = false;
            for n in 0..pages.len() {
                if !may_pass(&moved[n]) {
                    continue;
                }
                let folio = match self.there(pages[n]) {
                    There::Folio(folio) => folio,
                    There::Moving(head) => {
                        mm.folio_wait_unlocked(head);
                        passing = true;
                        continue;
                    }
                    There::Nothing => {
                        moved[n] = Err(MigrateError::NotMapped);
                        continue;
                    }
                };
                let (page, head) = (folio.pfn(), folio.head());
                if mm.may_be_pinned(head) {
                    continue;
                }
                // Held as before, and nobody at work on it whose lock could be waited for: then the answers are
                // not searched in vain.
                let (desc, counts) = (mm.desc(head), mm.desc(head).counts());
                let (refs, expected) = (counts.refs(), counts.maps() + 1);
                if refs != expected && !desc.has(Flag::Locked) {
                    moved[n] = Err(MigrateError::Busy { refs, expected });
                    passing = true;
                    continue;
                }
                // It was moved already for another of its pages.
                let is_same = |at: Pfn| mm.frames.map().head(at) == Some(head);
                moved[n] = match moved.iter().any(|other| other.is_ok_and(is_same)) {
                    true => Ok(page),
                    false => self.move_one(batch, folio, to),
                };
                passing |= may_pass(&moved[n]);
            }
            if !passing {
                break;
            }
            mm.hw.yield_now();
        }
    }

    /// Moves one folio by itself.
    fn move_one(&self, batch: &mut Batch<'m, H>, folio: FolioRef<'m, H>, to: Destination) -> Moved {
        match self.join(batch, folio, to)? {
            Joined::Stays(page) => Ok(page),
            Joined::Moves(_, page) => {
                let mut moved = Err(MigrateError::Locked);
                batch.run(|place| moved = place);
                moved.map(|head| head + page)
            }
        }
    }

    /// Puts the folio into the batch, if it is not where it should be.
    fn join(
        &self,
        batch: &mut Batch<'m, H>,
        folio: FolioRef<'m, H>,
        to: Destination,
    ) -> Result<Joined, MigrateError> {
        let mm = self.mm();
        let stays = match to {
            Destination::Anywhere => false,
            Destination::Node(node) => mm.frames.node_of(folio.pfn()) == node,
            Destination::Pinnable => !mm.frames.is_movable_only(folio.pfn()),
        };
        if stays {
            return Ok(Joined::Stays(folio.pfn()));
        }
        let page = folio.pfn() - folio.head();
        let at = batch.add(folio, true, |order| mm.migration_target(to, order))?;
        Ok(Joined::Moves(at, page))
    }
}

/// Whether what kept a page where it is may be over by now.
fn may_pass(moved: &Moved) -> bool {
    matches!(moved, Err(MigrateError::Busy { .. } | MigrateError::Locked))
}

/// What becomes of a page.
enum Joined {
    /// It is this one of this folio of the batch.
    Moves(usize, u64),
    /// It is there already.
    Stays(Pfn),
}

impl<H: Hardware> Mm<H> {
    /// A folio that nobody knows, with one reference, for another's content.
    #[doc(alias = "alloc_migration_target")]
    pub(crate) fn migration_target(
        &self,
        to: Destination,
        order: Order,
    ) -> Result<FolioRef<'_, H>, OutOfMemory> {
        let folio = match to {
            Destination::Anywhere => self.folio_alloc(order)?,
            Destination::Node(node) => self.folio_alloc_near(Near::Exactly(node), order)?,
            Destination::Pinnable => self.folio_alloc_fixed(order)?,
        };
        Ok(FolioRef::adopt(self, folio))
    }
}
