//! The forms that a case's memory may have, before the case begins.

use crate::stage::Stage;
use crate::step::{ALL, BLOCK, Step, Who, at};
use abi::{Order, Prot};
use core::fmt;
use mm::{Advice, Huge};
use stress::{Failure, World};

/// What a case's memory is, written once but where it is said otherwise. Of an order means: of one folio of
/// this size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// None: the case makes its own.
    Nothing,
    /// Pages.
    Pages,
    /// 64 KiB folios, as faults make them.
    Mid,
    /// A huge page: one entry.
    Huge,
    /// A folio of this order, by an entry for each page.
    Ptes(Order),
    /// One page of a folio of this order, whose others were unmapped.
    Single(Order),
    /// The lower half of a folio of this order, whose other half was moved away.
    Moved(Order),
    /// A folio of this order, by an entry for each page; a child had one half of it.
    HalfShared(Order),
    /// Mapped, never touched.
    Untouched,
    /// Pages that were only read.
    Zeros,
    /// A block that was only read.
    HugeZeros,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, order) = match *self {
            Self::Nothing => return Ok(()),
            Self::Pages => ("pages", None),
            Self::Mid => ("64K folios", None),
            Self::Huge => ("a huge page", None),
            Self::Ptes(order) => ("by PTEs", Some(order)),
            Self::Single(order) => ("one PTE", Some(order)),
            Self::Moved(order) => ("half moved", Some(order)),
            Self::HalfShared(order) => ("half shared before", Some(order)),
            Self::Untouched => ("untouched", None),
            Self::Zeros => ("zeros", None),
            Self::HugeZeros => ("huge zeros", None),
        };
        match order {
            Some(order) => write!(f, ", {}K {text}", order.bytes() >> 10),
            None => write!(f, ", {text}"),
        }
    }
}

/// The order of a folio of 64 KiB.
const MID: Order = Order(4);
/// Where a half is moved to: nothing of a case is there.
const ASIDE: u32 = 64 * BLOCK;

impl<W: World> Stage<'_, '_, W> {
    /// Makes memory of this form, of so many pages where the form leaves it open, and sees that it is that.
    pub(crate) fn build(&mut self, form: Form, pages: u32) -> Result<(), Failure> {
        let (parent, blocks) = (Who::Parent, at(0, pages.next_multiple_of(BLOCK)));
        let huge = match form {
            Form::Nothing => return Ok(()),
            Form::Pages | Form::Untouched | Form::Zeros | Form::Mid => Huge::Never,
            _ => Huge::Advised,
        };
        self.act(Step::Map(blocks, Prot::ReadWrite, huge))?;
        self.memory = pages;
        match form {
            Form::Untouched => return Ok(()),
            Form::Zeros => return self.act(Step::Zeros(parent, ALL)),
            Form::HugeZeros => {
                self.act(Step::Zeros(parent, ALL))?;
                return self.act(Step::Huge(parent, blocks, blocks.pages / BLOCK));
            }
            Form::Mid => {
                // Tables of pages: no block becomes huge.
                for block in 0..blocks.pages / BLOCK {
                    self.act(Step::Write(parent, at(block * BLOCK, 1)))?;
                }
                self.act(Step::Advise(parent, blocks, Advice::DontNeed))?;
                self.act(Step::Advise(parent, blocks, Advice::Huge))?;
            }
            _ => {}
        }
        self.act(Step::Write(parent, blocks))?;
        match form {
            Form::Ptes(order) => self.one_folio(order),
            Form::Single(order) => {
                self.one_folio(order)?;
                self.keep(1)?;
                self.act(Step::Folios(parent, ALL, order))
            }
            Form::Moved(order) => {
                self.one_folio(order)?;
                let half = self.memory / 2;
                self.act(Step::Move(parent, at(half, half), ASIDE + half))?;
                self.memory = half;
                self.act(Step::Folios(parent, ALL, order))
            }
            Form::HalfShared(order) => {
                self.one_folio(order)?;
                let half = self.memory / 2;
                self.act(Step::Fork(parent, Who::Child))?;
                self.act(Step::Unmap(Who::Child, at(0, half)))?;
                self.act(Step::Exit(Who::Child))
            }
            Form::Mid => self.act(Step::Folios(parent, ALL, MID)),
            Form::Huge => self.act(Step::Huge(parent, blocks, blocks.pages / BLOCK)),
            _ => self.act(Step::Folios(parent, ALL, Order::PAGE)),
        }
    }

    /// Makes of the first block one folio of this order, by an entry for each page, and nothing else.
    fn one_folio(&mut self, order: Order) -> Result<(), Failure> {
        let parent = Who::Parent;
        self.act(Step::SplitBlocks(parent, at(0, BLOCK)))?;
        if order < Order::PMD {
            self.act(Step::SplitFolio(parent, 0, order))?;
        }
        self.keep(order.pages() as u32)?;
        self.act(Step::Huge(parent, ALL, 0))?;
        self.act(Step::Folios(parent, ALL, order))
    }

    /// Unmaps all but the first pages, which are the memory from here on.
    fn keep(&mut self, pages: u32) -> Result<(), Failure> {
        if pages < self.memory {
            self.act(Step::Unmap(Who::Parent, at(pages, self.memory - pages)))?;
        }
        self.memory = pages;
        Ok(())
    }
}
