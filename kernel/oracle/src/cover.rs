//! What was issued for a debt, and how much of that is complete.
//!
//! Several CPUs may be flushing the same address at once, each waiting for its own operations only. So
//! the operations of one CPU are joined, those of different CPUs are not: the debt is paid by whoever is
//! done first.

use crate::cpus::{Cpus, Whose};
use crate::issue::Source;
use pte::Scope;

/// Addresses, from the first to behind the last.
pub(crate) type Span = (u64, u64);

/// Operations of one CPU, joined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cover {
    /// The addresses that they cover together.
    pub(crate) span: Span,
    /// When the last of them was issued, and by whom.
    pub(crate) at: u64,
    pub(crate) source: Source,
}

impl Cover {
    const NONE: Self =
        Self { span: (0, 0), at: 0, source: Source::Tlbi { cpu: 0, scope: Scope::Local } };

    fn is_complete(&self, cpus: &Cpus) -> bool {
        cpus.is_complete(self.source, self.at)
    }

    /// The CPUs that have lost what it covers of `whose` by now, one bit each.
    fn done(&self, whose: Whose, cpus: &Cpus) -> u64 {
        if !self.is_complete(cpus) {
            return 0;
        }
        let ahead = cpus.is_ahead(self.source, self.at, whose).map_or(0, |cpu| 1 << cpu);
        cpus.reached(self.source, self.at) & !ahead
    }

    /// Takes another one of the same CPU in, as far as the two touch.
    fn join(&mut self, new: Self) {
        let touch = self.span.0 <= new.span.1 && new.span.0 <= self.span.1;
        let joined = (self.span.0.min(new.span.0), self.span.1.max(new.span.1));
        *self = Self { span: if touch { joined } else { new.span }, ..new };
    }
}

/// The operations of the CPUs that flush it: three at a time, of more the latest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covers {
    nr: u8,
    of: [Cover; 3],
}

impl Covers {
    pub(crate) const NONE: Self = Self { nr: 0, of: [Cover::NONE; 3] };

    pub(crate) const fn clear(&mut self) {
        self.nr = 0;
    }

    pub(crate) const fn is_none(&self) -> bool {
        self.nr == 0
    }

    fn all(&self) -> &[Cover] {
        &self.of[..usize::from(self.nr).min(self.of.len())]
    }

    /// Another operation was issued. `owner` has made the debt: its own operations are kept.
    pub(crate) fn add(&mut self, new: Cover, owner: u8) {
        let nr = usize::from(self.nr).min(self.of.len());
        let mine = |cover: &&mut Cover| cover.source == new.source;
        if let Some(cover) = self.of[..nr].iter_mut().find(mine) {
            return cover.join(new);
        }
        if nr < self.of.len() {
            self.nr += 1;
            self.of[nr] = new;
            return;
        }
        let age = |cover: &&mut Cover| match cover.source {
            Source::Tlbi { cpu, .. } | Source::Command { cpu, .. } if cpu == owner => u64::MAX,
            _ => cover.at,
        };
        if let Some(cover) = self.of.iter_mut().min_by_key(age) {
            *cover = new;
        }
    }

    /// The CPUs that have lost all of `span`, one bit each.
    #[inline]
    pub(crate) fn done(&self, span: Span, whose: Whose, cpus: &Cpus) -> u64 {
        let all = |cover: &&Cover| cover.span.0 <= span.0 && span.1 <= cover.span.1;
        self.all().iter().filter(all).fold(0, |set, cover| set | cover.done(whose, cpus))
    }

    /// The CPUs that have lost some of `span`: of a walk to it, that is enough.
    pub(crate) fn done_within(&self, span: Span, whose: Whose, cpus: &Cpus) -> u64 {
        let some = |cover: &&Cover| cover.span.0 < span.1 && span.0 < cover.span.1;
        self.all().iter().filter(some).fold(0, |set, cover| set | cover.done(whose, cpus))
    }

    /// Whose operations nobody has waited for, and when they were issued.
    pub(crate) fn waiting(&self, cpus: &Cpus) -> Option<(Source, u64)> {
        let waits = |cover: &&Cover| !cover.is_complete(cpus);
        let last = self.all().iter().filter(waits).max_by_key(|cover| cover.at);
        last.map(|cover| (cover.source, cover.at))
    }

    /// A CPU that has waited for its own operation, and may still go by what that removed of `whose`.
    pub(crate) fn ahead(&self, whose: Whose, cpus: &Cpus) -> Option<u8> {
        let mut done = self.all().iter().filter(|cover| cover.is_complete(cpus));
        done.find_map(|cover| cpus.is_ahead(cover.source, cover.at, whose))
    }
}
