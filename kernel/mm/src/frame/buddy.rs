//! Free blocks of orders 0 to 10 of one node. A block is split for a smaller request and merged with its
//! buddy when both are free, so 2 MiB blocks come back as soon as their pages do.
//!
//! # Who gets what
//! | request | first | then | in need |
//! | --- | --- | --- | --- |
//! | movable | what is kept for it | movable page blocks | unmovable ones, the smallest piece that does |
//! | unmovable | unmovable page blocks | - | a movable page block, which becomes an unmovable one with all that is free in it: the one with the largest free block |
//!
//! Requests of a page block or more spoil nothing: such blocks come and go whole.
//!
//! Context: under the zone's lock. Corresponds to Linux's `__free_one_page`, `expand`, `__rmqueue`,
//! `__rmqueue_fallback`.

use super::free_list::FreeList;
use super::memmap::MemMap;
use super::page::Kind;
use super::page_block::{Group, Mobility, PAGE_BLOCK, PageBlock};
use abi::{Order, Pfn};

/// The free blocks of one node, by group; and the pages that were ever given.
#[doc(alias("zone", "free_area"))]
pub(super) struct Buddy {
    lists: [FreeList; Group::COUNT],
    managed: u64,
}

impl Buddy {
    pub(super) const fn new() -> Self {
        Self { lists: [const { FreeList::new() }; Group::COUNT], managed: 0 }
    }

    pub(super) fn managed_pages(&self) -> u64 {
        self.managed
    }

    /// Free blocks by order, isolated ones included.
    pub(super) fn free_blocks(&self) -> [u64; Order::COUNT] {
        let mut sum = [0; Order::COUNT];
        for list in &self.lists {
            sum.iter_mut().zip(list.blocks()).for_each(|(sum, n)| *sum += u64::from(n));
        }
        sum
    }

    /// Free pages, isolated ones included.
    pub(super) fn free_pages(&self) -> u64 {
        self.free_blocks().iter().enumerate().map(|(order, n)| n << order).sum()
    }

    /// Free pages of isolated page blocks.
    pub(super) fn isolated_pages(&self) -> u64 {
        let blocks = self.lists[Group::Isolated as usize].blocks();
        blocks.iter().enumerate().map(|(order, n)| u64::from(*n) << order).sum()
    }

    /// Takes in pages that were nobody's, of page blocks that are all for the same: cut into the largest
    /// aligned blocks.
    pub(super) fn add(&mut self, map: &MemMap, first: Pfn, end: Pfn) {
        let mut at = first;
        while at < end {
            let mut order = Order::MAX;
            while !at.is_aligned(order) || order.pages() > end - at {
                order.0 -= 1;
            }
            self.give(map, at, order);
            self.managed += order.pages();
            at = at + order.pages();
        }
    }

    /// Takes a block out of the lists, splitting a larger one if need be. Its head says
    /// [`Kind::Stocked`]; the caller names the owner.
    #[doc(alias("__rmqueue", "__rmqueue_smallest"))]
    #[inline]
    pub(super) fn take(&mut self, map: &MemMap, mobility: Mobility, order: Order) -> Option<Pfn> {
        let group = self.group_for(map, mobility, order, true)?;
        self.take_of(map, group, order)
    }

    /// Takes about `wanted` blocks of `least`, and no more: in pieces as large as they come; or, where so much
    /// is lying about in smaller ones, those, the smallest first and each of them whole. Others' page blocks are
    /// touched only `in_need`, and no more than one block is taken of them.
    #[doc(alias = "rmqueue_bulk")]
    #[inline]
    pub(super) fn take_about(
        &mut self,
        map: &MemMap,
        mobility: Mobility,
        least: Order,
        wanted: usize,
        in_need: bool,
        mut each: impl FnMut(Pfn, Order),
    ) {
        let Some(group) = self.group_for(map, mobility, least, in_need) else { return };
        let others = mobility == Mobility::Movable && group == Group::Unmovable;
        let mut left = if others { 1 } else { wanted };
        let most_of = |left: usize| Order((least.0 + left.ilog2() as u8).min(Order::MAX.0));
        let list = &self.lists[group as usize];
        let most = most_of(wanted);
        let lying_about = list.pages_between(least, most) >= most.pages();
        while left > 0
            && let Some(smallest) = self.lists[group as usize].smallest(least)
        {
            let most = most_of(left);
            let whole = lying_about || self.lists[group as usize].smallest(most).is_none();
            let order = if whole { smallest.min(most) } else { most };
            let Some(first) = self.take_of(map, group, order) else { return };
            each(first, order);
            left -= 1 << (order.0 - least.0);
        }
    }

    /// Takes a movable block out of what is fragmented already: no page block that is free as a whole is
    /// broken for it.
    #[doc(alias = "compaction_alloc")]
    pub(super) fn take_fragment(&mut self, map: &MemMap, order: Order) -> Option<Pfn> {
        let has = |group: &Group| {
            let smallest = self.lists[*group as usize].smallest(order);
            smallest.is_some_and(|smallest| smallest < PAGE_BLOCK)
        };
        let group = [Group::Kept, Group::Movable].into_iter().find(has)?;
        self.take_of(map, group, order)
    }

    /// Takes every free page of a page block that somebody uses, one by one.
    #[doc(alias("isolate_freepages_block", "__isolate_free_page"))]
    pub(super) fn take_pages(&mut self, map: &MemMap, first: Pfn, mut each: impl FnMut(Pfn)) {
        let group = map.page_block(first).group();
        if group == Group::Isolated {
            return;
        }
        each_free(map, first, |pfn, order| {
            if order >= PAGE_BLOCK {
                return;
            }
            self.lists[group as usize].unlink(map, pfn, order);
            for page in (0..order.pages()).map(|page| pfn + page) {
                map.desc(page).set(Kind::Stocked, Order::PAGE);
                each(page);
            }
        });
    }

    /// The group to take a block of at least `order` from. `in_need`: if there is none where there should
    /// be, it is taken from others.
    #[inline]
    fn group_for(
        &mut self,
        map: &MemMap,
        mobility: Mobility,
        order: Order,
        in_need: bool,
    ) -> Option<Group> {
        let has = |group: Group| self.lists[group as usize].smallest(order).is_some();
        match mobility {
            Mobility::Movable if has(Group::Kept) => Some(Group::Kept),
            Mobility::Movable if has(Group::Movable) => Some(Group::Movable),
            Mobility::Movable => (in_need && has(Group::Unmovable)).then_some(Group::Unmovable),
            // Comes and goes whole.
            Mobility::Unmovable if order >= PAGE_BLOCK => {
                has(Group::Movable).then_some(Group::Movable)
            }
            Mobility::Unmovable if has(Group::Unmovable) => Some(Group::Unmovable),
            Mobility::Unmovable => (in_need && self.spoil(map, order)).then_some(Group::Unmovable),
        }
    }

    /// Makes a movable page block an unmovable one, if one has a free block of `order`: the one with the
    /// largest, since that is where least would be lost in spoiling another.
    #[doc(alias("steal_suitable_fallback", "try_to_claim_block", "__rmqueue_fallback"))]
    #[cold]
    fn spoil(&mut self, map: &MemMap, order: Order) -> bool {
        let list = &self.lists[Group::Movable as usize];
        let found = list.largest().filter(|largest| *largest >= order);
        let Some(pfn) = found.and_then(|largest| list.first(map, largest)) else { return false };
        self.regroup(map, pfn, |was| was.of(Group::Unmovable));
        true
    }

    /// Changes what the page block of `pfn` is for, and moves all that is free in it to the lists of its
    /// new group, none of it merged with other page blocks.
    #[doc(alias = "move_freepages_block")]
    pub(super) fn regroup(
        &mut self,
        map: &MemMap,
        pfn: Pfn,
        change: impl FnOnce(PageBlock) -> PageBlock,
    ) {
        let first = pfn.align_down(PAGE_BLOCK);
        let was = map.page_block(first);
        let to = change(was);
        self.cut_apart(map, first);
        map.set_page_block(first, to);
        each_free(map, first, |pfn, order| {
            self.lists[was.group() as usize].unlink(map, pfn, order);
            self.lists[to.group() as usize].link(map, pfn, order);
        });
    }

    /// Gives all that is free in an isolated page block back to the group that it came from.
    pub(super) fn integrate(&mut self, map: &MemMap, first: Pfn) {
        map.set_page_block(first, map.page_block(first).integrated());
        each_free(map, first, |pfn, order| {
            self.lists[Group::Isolated as usize].unlink(map, pfn, order);
            self.give(map, pfn, order);
        });
    }

    /// Cuts a free block in two that reaches over more than this page block.
    fn cut_apart(&mut self, map: &MemMap, first: Pfn) {
        let head = first.align_down(Order::MAX);
        if map.find(head).is_some_and(|desc| desc.is_free(Order::MAX)) {
            let list = &mut self.lists[map.page_block(first).group() as usize];
            list.unlink(map, head, Order::MAX);
            list.link(map, head + PAGE_BLOCK.pages(), PAGE_BLOCK);
            list.link(map, head, PAGE_BLOCK);
        }
    }

    /// Takes a block of `order` out of the group's lists, cut from the smallest that has one.
    #[doc(alias = "expand")]
    #[inline]
    fn take_of(&mut self, map: &MemMap, group: Group, order: Order) -> Option<Pfn> {
        let list = &mut self.lists[group as usize];
        let mut from = list.smallest(order)?;
        let pfn = list.pop(map, from)?;
        // Give back the upper half of each split.
        while from > order {
            from.0 -= 1;
            list.link(map, pfn + from.pages(), from);
        }
        map.desc(pfn).set(Kind::Stocked, order);
        Some(pfn)
    }

    /// Puts a block back, merged with as many buddies as are free and for the same.
    #[doc(alias = "__free_one_page")]
    pub(super) fn give(&mut self, map: &MemMap, pfn: Pfn, order: Order) {
        if order < PAGE_BLOCK {
            let group = map.page_block(pfn).group();
            let (pfn, order) = self.merge(map, group, pfn, order);
            if order < PAGE_BLOCK {
                return self.lists[group as usize].link(map, pfn, order);
            }
            return self.give_whole(map, pfn);
        }
        self.give_whole(map, pfn);
        if order > PAGE_BLOCK {
            // Its halves may be for different things by now.
            self.give_whole(map, pfn + PAGE_BLOCK.pages());
        }
    }

    /// Merges a block, within its page block, with its buddies.
    #[inline]
    fn merge(
        &mut self,
        map: &MemMap,
        group: Group,
        mut pfn: Pfn,
        mut order: Order,
    ) -> (Pfn, Order) {
        while order < PAGE_BLOCK {
            let buddy = Pfn(pfn.0 ^ order.pages());
            let Some(desc) = map.find(buddy) else { break };
            if !desc.is_free(order) {
                break;
            }
            self.lists[group as usize].unlink(map, buddy, order);
            // The upper half is no head any more.
            map.desc(buddy.max(pfn)).set(Kind::Tail, Order::PAGE);
            pfn = buddy.min(pfn);
            order.0 += 1;
        }
        (pfn, order)
    }

    /// Puts a whole page block back: nothing holds it down any more, so it is for whatever moves. Merges it
    /// with its neighbour if that is free and for the same.
    fn give_whole(&mut self, map: &MemMap, pfn: Pfn) {
        let desc = map.desc(pfn);
        let mut is = desc.page_block();
        if is.group() == Group::Unmovable {
            is = is.of(Group::Movable);
            desc.set_page_block(is);
        }
        let list = &mut self.lists[is.group() as usize];
        let buddy = Pfn(pfn.0 ^ PAGE_BLOCK.pages());
        if let Some(other) = map.find(buddy)
            && other.is_free(PAGE_BLOCK)
            && other.page_block() == is
            && !is.is_isolated()
        {
            list.unlink(map, buddy, PAGE_BLOCK);
            let upper = if buddy < pfn { desc } else { other };
            upper.set(Kind::Tail, Order::PAGE);
            return list.link(map, buddy.min(pfn), Order::MAX);
        }
        list.link(map, pfn, PAGE_BLOCK);
    }
}

/// Each free block of a page block.
fn each_free(map: &MemMap, first: Pfn, mut each: impl FnMut(Pfn, Order)) {
    let end = first + PAGE_BLOCK.pages();
    let mut at = first;
    while at < end {
        let Some(desc) = map.find(at) else { return };
        let (kind, order) = desc.kind_and_order();
        let free = kind == Kind::Free;
        if free {
            each(at, order);
        }
        at = at + if free { order.pages() } else { 1 };
    }
}
