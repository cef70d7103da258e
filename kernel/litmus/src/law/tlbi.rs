//! TLBIs: each of them is before or after each of the walk's reads that it covers.
//!
//! Before the read: then the read sees nothing older than what the invalidation has seen, so whatever comes
//! later in that place, comes after the TLBI. After it: then what is behind the TLBI's completion is behind
//! the read as well, and behind the access that used it, on every CPU. A read that no TLBI covers may be as
//! old as anything.

use super::candidate::{Chosen, Search};
use super::event::Effect;
use super::local::Completion;
use super::set::{Cycle, Order, each, has};
use alloc::vec::Vec;
use pte::Scope;

/// A TLBI and a read that it covers.
#[derive(Clone, Copy, Debug)]
struct Pair {
    completion: Completion,
    read: usize,
}

impl Search<'_> {
    /// Decides for each TLBI and each read which is first; an order with all of that, if there is one.
    pub(crate) fn invalidate(&self, chosen: &Chosen, order: &Order) -> Option<Order> {
        let mut order = order.clone();
        self.fill(&mut order, chosen).ok()?;
        let mut open = Vec::new();
        for pair in self.pairs() {
            let Completion { tlbi, .. } = pair.completion;
            let ordered = if self.whole.order.is_before(tlbi, pair.read) {
                self.tlbi_first(&mut order, chosen, &pair)
            } else if self.whole.order.is_before(pair.read, tlbi) {
                self.read_first(&mut order, &pair)
            } else {
                open.push(pair);
                Ok(())
            };
            ordered.ok()?;
        }
        // A read of the latest value constrains nothing when the TLBI is first.
        open.retain(|pair| {
            let mut reads = core::iter::once(pair.read).chain(self.below(pair.read));
            reads.any(|read| self.later(chosen, read).next().is_some())
        });
        self.decide(chosen, order, open)
    }

    fn decide(&self, chosen: &Chosen, mut order: Order, mut open: Vec<Pair>) -> Option<Order> {
        loop {
            let mut settled = Vec::new();
            for (nth, pair) in open.iter().enumerate() {
                let (mut one, mut other) = (order.clone(), order.clone());
                let first = self.tlbi_first(&mut one, chosen, pair);
                let second = self.read_first(&mut other, pair);
                match (first, second) {
                    (Err(Cycle), Err(Cycle)) => return None,
                    (Ok(()), Ok(())) if one != order && other != order => continue,
                    (Ok(()), Ok(())) => {}
                    (Ok(()), _) => order = one,
                    (_, Ok(())) => order = other,
                }
                settled.push(nth);
            }
            if settled.is_empty() {
                break;
            }
            let mut nth = 0;
            open.retain(|_| {
                nth += 1;
                !settled.contains(&(nth - 1))
            });
        }
        let Some(pair) = open.pop() else { return Some(order) };
        let mut first = order.clone();
        if self.tlbi_first(&mut first, chosen, &pair).is_ok() {
            let found = self.decide(chosen, first, open.clone());
            if found.is_some() {
                return found;
            }
        }
        self.read_first(&mut order, &pair).ok()?;
        self.decide(chosen, order, open)
    }

    fn pairs(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for completion in &self.whole.completes {
            let Effect::Tlbi(tlbi) = self.whole.events[completion.tlbi].effect else { continue };
            for (read, event) in self.whole.events.iter().enumerate() {
                let Effect::Walk(walk) = event.effect else { continue };
                let here = self.whole.internal(completion.tlbi, read);
                let deaf = self.is_deaf(self.whole.thread[read]);
                let reaches = here || (tlbi.scope == Scope::InnerShareable && !deaf);
                let heard =
                    reaches && tlbi.covers(walk.va, walk.asid, walk.level, walk.leaf, walk.global);
                if heard {
                    pairs.push(Pair { completion: *completion, read });
                }
            }
        }
        pairs
    }

    fn is_deaf(&self, thread: usize) -> bool {
        self.test.threads.get(thread).is_some_and(|thread| thread.device)
    }

    /// The writes that came to a read's place after what it has read.
    pub(crate) fn later<'s>(
        &'s self,
        chosen: &'s Chosen,
        read: usize,
    ) -> impl Iterator<Item = usize> + 's {
        let location = self.whole.events[read].location;
        let nth = self.places.iter().position(|at| at.location == location);
        let coherence = nth.map_or(&[][..], |nth| chosen.coherence[nth].as_slice());
        coherence.iter().copied().skip(chosen.from[read])
    }

    fn tlbi_first(&self, order: &mut Order, chosen: &Chosen, pair: &Pair) -> Result<(), Cycle> {
        let tlbi = pair.completion.tlbi;
        for read in core::iter::once(pair.read).chain(self.below(pair.read)) {
            self.later(chosen, read).try_for_each(|write| order.add(tlbi, write))?;
        }
        Ok(())
    }

    /// A walk goes down: what a lower level's read has missed, came after what an upper one's has seen.
    fn fill(&self, order: &mut Order, chosen: &Chosen) -> Result<(), Cycle> {
        for (read, event) in self.whole.events.iter().enumerate() {
            if !matches!(event.effect, Effect::Walk(_)) {
                continue;
            }
            for source in each(event.walk).filter_map(|above| self.source(chosen, above)) {
                self.later(chosen, read).try_for_each(|write| order.add(source, write))?;
            }
        }
        Ok(())
    }

    /// The write that a read has read, if not the initial value.
    fn source(&self, chosen: &Chosen, read: usize) -> Option<usize> {
        let location = self.whole.events[read].location;
        let nth = self.places.iter().position(|at| at.location == location)?;
        chosen.coherence[nth].get(chosen.from[read].checked_sub(1)?).copied()
    }

    /// The reads of a walk below one of its reads.
    fn below(&self, read: usize) -> impl Iterator<Item = usize> + '_ {
        let events = self.whole.events.iter().enumerate();
        let lower = move |(_, event): &(usize, &super::event::Event)| {
            matches!(event.effect, Effect::Walk(_)) && has(event.walk, read)
        };
        events.filter(lower).map(|(index, _)| index)
    }

    fn read_first(&self, order: &mut Order, pair: &Pair) -> Result<(), Cycle> {
        let Completion { tlbi, here, everywhere } = pair.completion;
        if self.whole.internal(tlbi, pair.read) {
            return order.add_all(pair.read, here);
        }
        order.add_all(pair.read, everywhere)?;
        for (user, event) in self.whole.events.iter().enumerate() {
            if has(event.walk, pair.read) {
                order.add_all(user, everywhere)?;
            }
        }
        for (earlier, later) in &self.whole.twins {
            if *later == pair.read {
                order.add_all(*earlier, everywhere)?;
            }
        }
        Ok(())
    }
}
