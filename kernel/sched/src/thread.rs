//! What a thread is, and how it is named.

use abi::{CpuId, VirtAddr, VirtRange};
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use sync::{Class, Cpu, SpinGuard, SpinLock};

/// What a thread executes: a function of one word, whose result is what [`crate::Scheduler::join`]
/// gives.
pub type Entry = fn(usize) -> usize;

/// The place of a thread in the table. Slots below `MAX_CPUS` are the CPUs' idle threads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot(pub u16);

impl Slot {
    /// The idle thread of `cpu`.
    pub(crate) const fn idle(cpu: CpuId) -> Self {
        Self(cpu.0)
    }

    pub(crate) const fn is_idle(self) -> bool {
        (self.0 as usize) < abi::MAX_CPUS
    }

    /// The slot as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Names one thread for ever: a slot, and the how-manieth thread in it. (32 bits of it: a slot would
/// have to be used four thousand million times before an old name meant somebody new.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

impl ThreadId {
    /// The slot's number, which is what people type and see.
    pub const fn number(self) -> u16 {
        self.slot
    }

    /// How many threads had this number before, and this one.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// A thread's name: up to 16 bytes, what is longer is cut off at a character.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Name([u8; 16]);

impl Name {
    /// The first bytes of `text`.
    pub fn new(text: &str) -> Self {
        let mut name = Self::default();
        let len = text.floor_char_boundary(name.0.len());
        name.0[..len].copy_from_slice(&text.as_bytes()[..len]);
        name
    }

    /// The name with a CPU's number after it: `idle/3`.
    pub fn with_cpu(text: &str, cpu: CpuId) -> Self {
        use fmt::Write;
        let mut name = Cursor { name: Self::default(), len: 0 };
        // Too long a name is cut off, which is no error here.
        let _ = write!(name, "{text}/{cpu}");
        name.name
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(self.0.len());
        core::str::from_utf8(&self.0[..len]).unwrap_or("?")
    }

    const fn to_words(self) -> [u64; 2] {
        let word = u128::from_le_bytes(self.0);
        [word as u64, (word >> 64) as u64]
    }

    const fn from_words(words: [u64; 2]) -> Self {
        Self((words[0] as u128 | (words[1] as u128) << 64).to_le_bytes())
    }
}

struct Cursor {
    name: Name,
    len: usize,
}

impl fmt::Write for Cursor {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.name.0.len() - self.len;
        let len = text.floor_char_boundary(room);
        self.name.0[self.len..self.len + len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        if len == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Where a thread may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Affinity {
    /// On any CPU.
    Any,
    /// On this CPU and no other.
    Cpu(CpuId),
}

/// What becomes of a thread that has returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Somebody joins it; until then its slot and its stack stay.
    Joined,
    /// Nobody asks for its result; its slot and stack go at the next spawn.
    Detached,
}

/// What a thread does at the moment. All changes are made under the lock of its home CPU's run
/// queue; readers without that lock see a recent one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// On its way into a run queue: made, woken or stolen, by exactly one CPU.
    Arriving = 0,
    /// In a run queue.
    Ready = 1,
    /// A CPU's current thread.
    Running = 2,
    /// Waits for a wake or a deadline. A current thread that is about to wait is `Blocked` too.
    Blocked = 3,
    /// Has returned.
    Exited = 4,
}

impl State {
    const fn from_word(word: u8) -> Self {
        match word {
            1 => Self::Ready,
            2 => Self::Running,
            3 => Self::Blocked,
            4 => Self::Exited,
            _ => Self::Arriving,
        }
    }

    /// The word for it in a listing.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Arriving | Self::Ready => "ready",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Exited => "exited",
        }
    }
}

/// What is locked because it is more than a word.
pub(crate) struct Private {
    pub(crate) job: Option<(Entry, usize)>,
    /// The stack to give back; adopted stacks are nobody's to free.
    pub(crate) owned_stack: Option<VirtRange>,
}

/// A thread's record. Everything is an atomic word, so that a listing, also one by a dying CPU,
/// needs no lock; what must change together changes under the home run queue's lock.
pub(crate) struct Thread {
    /// Generation in the upper half, [`Life`] in the lower: one word, so that a claim by an old name
    /// cannot hit a new thread.
    pub(crate) life: AtomicU64,
    state: AtomicU8,
    /// Set while a CPU executes on this thread's stack: longer than `Running`, by the switch.
    pub(crate) on_cpu: AtomicBool,
    /// The home: whose run queue's lock guards `state`.
    home: AtomicU16,
    /// The one CPU, or `ANY`.
    affinity: AtomicU16,
    name: [AtomicU64; 2],
    stack: [AtomicU64; 2],
    pub(crate) space: AtomicUsize,
    pub(crate) result: AtomicUsize,
    pub(crate) run_ns: AtomicU64,
    pub(crate) since_ns: AtomicU64,
    pub(crate) switches: AtomicU64,
    /// When to give up waiting; `u64::MAX` is never.
    pub(crate) deadline_ns: AtomicU64,
    private: SpinLock<Private>,
}

const ANY: u16 = u16::MAX;

/// What a slot is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Life {
    Free = 0,
    /// Nobody has asked for the result yet.
    Joinable = 1,
    /// Somebody waits for the result.
    Claimed = 2,
    Detached = 3,
    /// An idle or boot thread: never ends.
    Permanent = 4,
}

impl Life {
    pub(crate) const fn word(self, generation: u32) -> u64 {
        (generation as u64) << 32 | self as u64
    }

    /// The generation and the use in `word`.
    pub(crate) const fn of_word(word: u64) -> (u32, Self) {
        let life = match word as u32 {
            1 => Self::Joinable,
            2 => Self::Claimed,
            3 => Self::Detached,
            4 => Self::Permanent,
            _ => Self::Free,
        };
        ((word >> 32) as u32, life)
    }
}

impl Thread {
    /// The record of no thread yet. All its bytes are zero: see [`crate::Scheduler::new`].
    pub(crate) const fn blank() -> Self {
        Self {
            life: AtomicU64::new(0),
            state: AtomicU8::new(State::Arriving as u8),
            on_cpu: AtomicBool::new(false),
            home: AtomicU16::new(0),
            affinity: AtomicU16::new(0),
            name: [const { AtomicU64::new(0) }; 2],
            stack: [const { AtomicU64::new(0) }; 2],
            space: AtomicUsize::new(0),
            result: AtomicUsize::new(0),
            run_ns: AtomicU64::new(0),
            since_ns: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            deadline_ns: AtomicU64::new(0),
            private: SpinLock::new(Class::Sched, Private { job: None, owned_stack: None }),
        }
    }

    /// What is more than a word, locked.
    pub(crate) fn private<'a, C: Cpu>(&'a self, cpu: &'a C) -> SpinGuard<'a, Private, C> {
        self.private.lock(cpu)
    }

    /// Makes the record that of a new thread. The slot is claimed and not yet named by anybody.
    pub(crate) fn reset(&self, name: Name, affinity: Affinity, stack: VirtRange) {
        let words = name.to_words();
        self.name[0].store(words[0], Ordering::Relaxed);
        self.name[1].store(words[1], Ordering::Relaxed);
        self.stack[0].store(stack.start.0, Ordering::Relaxed);
        self.stack[1].store(stack.end.0, Ordering::Relaxed);
        let cpu = match affinity {
            Affinity::Any => ANY,
            Affinity::Cpu(cpu) => cpu.0,
        };
        self.affinity.store(cpu, Ordering::Relaxed);
        self.set_state(State::Arriving);
        for word in [&self.run_ns, &self.since_ns, &self.switches] {
            word.store(0, Ordering::Relaxed);
        }
        self.space.store(0, Ordering::Relaxed);
        self.result.store(0, Ordering::Relaxed);
        self.deadline_ns.store(u64::MAX, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> State {
        State::from_word(self.state.load(Ordering::Acquire))
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(crate) fn home(&self) -> CpuId {
        CpuId(self.home.load(Ordering::Relaxed))
    }

    pub(crate) fn set_home(&self, cpu: CpuId) {
        self.home.store(cpu.0, Ordering::Relaxed);
    }

    pub(crate) fn affinity(&self) -> Affinity {
        match self.affinity.load(Ordering::Relaxed) {
            ANY => Affinity::Any,
            cpu => Affinity::Cpu(CpuId(cpu)),
        }
    }

    pub(crate) fn name(&self) -> Name {
        Name::from_words([
            self.name[0].load(Ordering::Relaxed),
            self.name[1].load(Ordering::Relaxed),
        ])
    }

    pub(crate) fn stack(&self) -> VirtRange {
        let [start, end] = [0, 1].map(|n| VirtAddr(self.stack[n].load(Ordering::Relaxed)));
        VirtRange::new(start, end)
    }
}
