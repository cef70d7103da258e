//! Translation tables as regions: what is mapped, by which leaves, with which rights.
//!
//! A dump goes from address to address, in slices. Each is a lockless walk of its own: inside a walkers' epoch,
//! where no table that it finds is freed, and short, since whoever frees tables waits. What it found is told
//! between the slices, however slowly. What changes meanwhile is seen as it was or as it is, and the next slice
//! begins at the root again: a table that was taken out is never come back to.
//!
//! Corresponds to Linux's `ptdump_walk_pgd` and `note_page`.

use crate::mutant::Mutant;
use crate::{Hardware, Mm, Note, Slot};
use abi::{ENTRIES, Level, Pfn, VirtAddr};
use core::fmt;
use pte::bits::{CONT, RDONLY, UXN};
use pte::{Entry, Leaf, MemType};

/// Descriptors that one slice looks at.
const LOOKS: usize = ENTRIES;
/// Regions that one slice remembers.
const FOUND: usize = 16;
/// What a tree translates, in bytes.
const REACH: u64 = 1 << 48;

/// Which tree is dumped: the two halves' addresses differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// A space's.
    User,
    /// The kernel's.
    Kernel,
}

impl Half {
    const fn address(self, offset: u64) -> VirtAddr {
        match self {
            Self::User => VirtAddr(offset),
            Self::Kernel => VirtAddr(offset | 0xffff << 48),
        }
    }
}

/// Neighbouring leaves of one size and the same rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// The first address.
    pub start: VirtAddr,
    /// How much there is.
    pub bytes: u64,
    /// The first of the leaves. Others map other memory, and have a history of their own.
    pub first: Leaf,
}

impl Region {
    /// Whether it is both written and executed, by whomever.
    #[doc(alias("note_prot_wx", "CONFIG_DEBUG_WX"))]
    pub fn breaks_wx(&self) -> bool {
        let is_writable = self.first.is_writable() || self.first.word() & RDONLY == 0;
        is_writable && self.first.is_exec()
    }

    /// Whether a leaf goes on with it.
    fn goes_on(&self, at: VirtAddr, leaf: Leaf) -> bool {
        self.start.0.wrapping_add(self.bytes) == at.0
            && self.first.level() == leaf.level()
            && self.first.kin().has(leaf.word())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (leaf, last) = (self.first, VirtAddr(self.start.0.wrapping_add(self.bytes - 1)));
        let size = |bytes: u64| match bytes {
            _ if bytes.is_multiple_of(1 << 30) => (bytes >> 30, 'G'),
            _ if bytes.is_multiple_of(1 << 20) => (bytes >> 20, 'M'),
            _ => (bytes >> 10, 'K'),
        };
        let (n, unit) = size(self.bytes);
        let (each, of) = size(leaf.level().span());
        let has = |on, c| if on { c } else { '-' };
        // What EL0 cannot read and may execute, nobody reads.
        let read = leaf.is_user() || leaf.word() & UXN != 0;
        write!(f, "{}-{last} {n:>4}{unit} by {each}{of} ", self.start)?;
        write!(
            f,
            "{}{}{}",
            has(read, 'r'),
            has(leaf.is_writable(), 'w'),
            has(leaf.is_exec(), 'x')
        )?;
        let words = [
            (leaf.is_user(), " user"),
            (leaf.word() & CONT != 0, " contiguous"),
            (leaf.is_special(), " special"),
            (leaf.mem_type() == Some(MemType::Device), " device"),
            (leaf.mem_type() == Some(MemType::NormalNc), " uncached"),
        ];
        words.into_iter().filter(|(on, _)| *on).try_for_each(|(_, word)| f.write_str(word))
    }
}

/// What a dump has seen in all.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Regions.
    pub regions: u64,
    /// Leaves, by level.
    pub leaves: [u64; 4],
    /// Of the regions, those that are both written and executed.
    pub broken: u64,
    /// The first of these.
    pub first_broken: Option<Region>,
}

impl Totals {
    fn count(&mut self, region: &Region) {
        let level = region.first.level();
        self.regions += 1;
        self.leaves[level as usize] += region.bytes >> level.shift();
        if region.breaks_wx() {
            self.broken += 1;
            self.first_broken.get_or_insert(*region);
        }
    }

    /// What is mapped, in bytes.
    pub fn bytes(&self) -> u64 {
        Level::ALL.iter().map(|level| self.leaves[*level as usize] << level.shift()).sum()
    }
}

/// Where a dump is.
struct Dump {
    half: Half,
    /// The next address to look at, from the beginning of the half.
    at: u64,
    /// The region that may go on there.
    open: Option<Region>,
    /// Regions that have ended.
    found: [Option<Region>; FOUND],
    nr: usize,
}

impl<H: Hardware> Mm<H> {
    /// Tells `see` of each region that the tree at `root` maps, by address, and says what it saw in all.
    ///
    /// Context: any in which `see` may be called, not inside a lockless walk; the tree is somebody's who keeps
    /// its root.
    #[doc(alias = "ptdump")]
    #[cold]
    #[inline(never)]
    pub fn dump(&self, root: Pfn, half: Half, see: &mut dyn FnMut(&Region)) -> Totals {
        let mut dump = Dump { half, at: 0, open: None, found: [None; FOUND], nr: 0 };
        let mut totals = Totals::default();
        while dump.at < REACH {
            self.dump_slice(root, &mut dump);
            let last = if dump.at < REACH { None } else { dump.open.take() };
            for region in dump.found[..dump.nr].iter().chain([&last]).flatten() {
                totals.count(region);
                see(region);
            }
            dump.nr = 0;
        }
        totals
    }

    /// Looks at some descriptors from where the dump is, and says no word meanwhile.
    fn dump_slice(&self, root: Pfn, dump: &mut Dump) {
        let unprotected = self.commits(Mutant::DumpUnprotected);
        let _epoch = (!unprotected).then(|| self.walkers.enter(&self.hw));
        self.hw.note(Note::Walk(dump.half.address(dump.at)));
        let mut looks = LOOKS;
        while dump.at < REACH && looks > 0 && dump.nr < FOUND {
            let va = dump.half.address(dump.at);
            let (table, level) = self.dump_down(root, va);
            for index in level.index(va)..ENTRIES {
                let entry = pte::decode(level, self.hw.load(Slot::new(table, index)));
                looks = looks.saturating_sub(1);
                match entry {
                    Entry::Table(next) if self.is_known(next.pfn()) => break,
                    Entry::Leaf(leaf) => dump.leaf(leaf),
                    _ => {}
                }
                dump.at = (dump.at & !(level.span() - 1)) + level.span();
                if looks == 0 || dump.nr == FOUND {
                    break;
                }
            }
        }
    }

    /// The lowest table on the way to `va`, and the level of its entries.
    fn dump_down(&self, root: Pfn, va: VirtAddr) -> (Pfn, Level) {
        let mut table = root;
        for &level in Level::Pte.above() {
            let word = self.hw.load(Slot::new(table, level.index(va)));
            match pte::decode(level, word) {
                Entry::Table(next) if self.is_known(next.pfn()) => table = next.pfn(),
                _ => return (table, level),
            }
        }
        (table, Level::Pte)
    }

    fn is_known(&self, table: Pfn) -> bool {
        self.frames.map().find(table).is_some()
    }
}

impl Dump {
    /// A leaf where the dump is: of a block that has come meanwhile, what is left.
    fn leaf(&mut self, leaf: Leaf) {
        let (span, at) = (leaf.level().span(), self.half.address(self.at));
        let bytes = span - self.at % span;
        match &mut self.open {
            Some(open) if open.goes_on(at, leaf) => open.bytes += bytes,
            open => {
                let ended = open.replace(Region { start: at, bytes, first: leaf });
                if ended.is_some() {
                    self.found[self.nr] = ended;
                    self.nr += 1;
                }
            }
        }
    }
}
