//! Every block of the memmap, against what the tables said.

use super::tally::{Remark, Tally};
use super::{Allow, Audit, Broken, FolioRule, TableRule};
use crate::frame::{Flag, Kind, PageDesc};
use crate::{Hardware, Mm};
use abi::{Order, Pfn};

impl<H: Hardware> Mm<H> {
    /// Checks each table and each folio there is, once all tables were walked.
    pub(super) fn audit_memmap(
        &self,
        tally: &mut Tally<'_, H>,
        audit: &mut Audit,
        allow: Allow,
    ) -> Result<(), Broken> {
        let mut listed = Ok(());
        self.each_deferred(|head| {
            if listed.is_ok() {
                listed = self.audit_listed(tally, head);
            }
        });
        listed?;
        for (head, desc) in self.frames.map().blocks() {
            match desc.kind() {
                Kind::Table if tally.of(head).ptes() == 0 => {
                    return Err(Broken::Table(head, TableRule::Lost));
                }
                Kind::Folio => {
                    let folio = FolioAudit { mm: self, tally, head, desc };
                    folio
                        .run(audit, allow)
                        .map_err(|rule| Broken::Folio(head, desc.counts(), rule))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What is on the deferred list is a folio, and is there once.
    fn audit_listed(&self, tally: &mut Tally<'_, H>, head: Pfn) -> Result<(), Broken> {
        let desc = self.desc(head);
        let broken = |rule| Err(Broken::Folio(head, desc.counts(), rule));
        if desc.kind() != Kind::Folio {
            return broken(FolioRule::ListedAfterAll(desc.kind()));
        }
        let known = tally.note(head, Remark::Deferred)?;
        if known.has(Remark::Deferred) { broken(FolioRule::ListedTwice) } else { Ok(()) }
    }
}

/// The audit of one folio.
struct FolioAudit<'a, 'm, H: Hardware> {
    mm: &'m Mm<H>,
    tally: &'a Tally<'m, H>,
    head: Pfn,
    desc: &'static PageDesc,
}

impl<H: Hardware> FolioAudit<'_, '_, H> {
    fn run(&self, audit: &mut Audit, allow: Allow) -> Result<(), FolioRule> {
        let order = self.desc.order();
        audit.folios += 1;
        audit.folio_pages += order.pages();
        audit.partial += u64::from(self.desc.has(Flag::Partial));
        if self.desc.has(Flag::Locked) && !allow.migration {
            return Err(FolioRule::LeftLocked);
        }
        self.tails(order)?;
        if self.desc.has(Flag::Zero) {
            return self.zeros();
        }
        self.mappings(order)?;
        self.references(audit, allow)?;
        self.pins(order, audit)?;
        self.deferred(order)
    }

    /// Nobody has a reference to a tail. Only the tails that keep something for their head are looked
    /// at: that is where a mistake would put one.
    fn tails(&self, order: Order) -> Result<(), FolioRule> {
        let kept = order.pages().min(KEEPERS);
        let held =
            (1..kept).map(|tail| self.head + tail).find(|tail| self.mm.desc(*tail).refs() != 0);
        held.map_or(Ok(()), |tail| Err(FolioRule::TailHeld(tail)))
    }

    /// Zeros that everybody shares: their entries were seen and are not counted.
    fn zeros(&self) -> Result<(), FolioRule> {
        let counts = self.desc.counts();
        let counted = counts.maps() != 0 || counts.is_exclusive() || counts.is_mixed();
        if counted || self.mm.pmd_maps(self.head) != 0 {
            return Err(FolioRule::CountedZeros);
        }
        if counts.refs() == 0 { Err(FolioRule::Lost) } else { Ok(()) }
    }

    /// Counts what maps the folio, page by page, and compares.
    fn mappings(&self, order: Order) -> Result<(), FolioRule> {
        let whole = self.tally.of(self.head);
        let mut found = whole.pmds();
        for page in 0..order.pages() {
            let pfn = self.head + page;
            let here = self.tally.of(pfn);
            found += here.ptes();
            let mapped = here.ptes() + whole.pmds();
            if mapped > 1 && self.mm.is_exclusive(self.head, page) {
                return Err(FolioRule::SharedExclusive(pfn, mapped));
            }
            let named = mapped + here.soft_ptes() + whole.soft_pmds();
            let claims =
                here.has(Remark::Alone) || whole.has(Remark::Alone) && whole.soft_pmds() > 0;
            if named > 1 && claims {
                return Err(FolioRule::NotAlone(pfn, named));
            }
        }
        if u64::from(self.desc.maps()) != found {
            return Err(FolioRule::Mappings(found));
        }
        let counted = self.mm.pmd_maps(self.head);
        if u64::from(counted) != whole.pmds() {
            return Err(FolioRule::PmdMappings { counted, found: whole.pmds() });
        }
        Ok(())
    }

    /// Each mapping has a reference, and what is more is somebody's.
    fn references(&self, audit: &mut Audit, allow: Allow) -> Result<(), FolioRule> {
        let counts = self.desc.counts();
        let Some(held) = counts.refs().checked_sub(counts.maps()) else {
            return Err(FolioRule::References);
        };
        audit.held += u64::from(held);
        match (counts.maps(), held) {
            // Frozen, or freed and still called a folio.
            (0, 0) => Err(FolioRule::Lost),
            _ if audit.held <= allow.refs => Ok(()),
            (_, 0) => Ok(()),
            (0, _) => Err(FolioRule::Lost),
            _ => Err(FolioRule::References),
        }
    }

    /// It is on the deferred list if it says so, and only if it may be partly mapped.
    fn deferred(&self, order: Order) -> Result<(), FolioRule> {
        let (partial, queued) = (self.desc.has(Flag::Partial), self.desc.has(Flag::Queued));
        let listed = self.tally.of(self.head).has(Remark::Deferred);
        let large = order > Order(1);
        if queued != listed || queued && !partial || partial && !large {
            return Err(FolioRule::Deferred { partial, queued, listed });
        }
        Ok(())
    }

    /// A pin has a reference.
    fn pins(&self, order: Order, audit: &mut Audit) -> Result<(), FolioRule> {
        if order == Order::PAGE {
            return Ok(());
        }
        let (counts, pins) = (self.desc.counts(), self.mm.pins(self.head));
        audit.pins += u64::from(pins);
        if pins > counts.refs() - counts.maps() { Err(FolioRule::Pins(pins)) } else { Ok(()) }
    }
}

/// A head and the tails that keep its PMD mappings, its pins and its bitmap.
const KEEPERS: u64 = 9;
