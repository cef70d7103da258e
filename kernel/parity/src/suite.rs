//! Suites, and the cases that they make: each scene with each form of memory and each size of a batch.

use crate::form::Form;
use crate::law::{self, Law};
use crate::step::{BLOCK, Step};
use abi::Level;
use core::fmt;

/// What is done with memory, whatever its form.
pub(crate) struct Scene {
    /// What it is about.
    pub(crate) name: &'static str,
    /// What is done and expected.
    pub steps: &'static [Step],
}

/// Cases that one of Linux's tests has, in one table.
pub(crate) struct Suite {
    /// Ours.
    pub(crate) name: &'static str,
    /// What Linux calls its test.
    pub upstream: &'static str,
    /// The rows.
    pub rows: Rows,
}

/// The rows of a suite.
pub(crate) enum Rows {
    /// What is done with memory.
    Played {
        /// The forms that the memory has.
        forms: &'static [Form],
        /// What is done with each.
        scenes: &'static [Scene],
        /// How many pages the forms have that leave it open.
        pages: u32,
        /// How many pages are held at once.
        batches: &'static [u32],
    },
    /// What entries are, at each level that has them.
    Laws(&'static [Law]),
}

impl Rows {
    /// Scenes that make their own memory.
    pub(crate) const fn scenes(scenes: &'static [Scene]) -> Self {
        Self::with_forms(&[Form::Nothing], scenes)
    }

    /// Scenes with each of these forms of memory, a block of it.
    pub(crate) const fn with_forms(forms: &'static [Form], scenes: &'static [Scene]) -> Self {
        Self::Played { forms, scenes, pages: BLOCK, batches: &[0] }
    }
}

/// What a case plays.
#[derive(Clone, Copy)]
pub(crate) enum Play {
    /// A scene.
    Scene { form: Form, scene: &'static Scene, pages: u32, batch: u32 },
    /// A law, at one level.
    Law(&'static Law, Level),
}

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    suite: &'static Suite,
    pub(crate) play: Play,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.suite.name)?;
        match self.play {
            Play::Scene { form, scene, batch, .. } => {
                write!(f, "{}{form}", scene.name)?;
                if batch > 0 { write!(f, ", {batch} at once") } else { Ok(()) }
            }
            Play::Law(law, level) => write!(f, "{}, {level}", law.name),
        }
    }
}

impl Suite {
    /// Each of its cases, in order.
    pub(crate) fn each(&'static self, mut each: impl FnMut(Case) -> fmt::Result) -> fmt::Result {
        let mut play = |play| each(Case { suite: self, play });
        match &self.rows {
            Rows::Played { forms, scenes, pages, batches } => {
                for scene in *scenes {
                    for &form in *forms {
                        for &batch in *batches {
                            play(Play::Scene { form, scene, pages: *pages, batch })?;
                        }
                    }
                }
            }
            Rows::Laws(laws) => {
                for law in *laws {
                    for level in law::LEVELS {
                        play(Play::Law(law, level))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many cases it has.
    pub(crate) fn count(&'static self) -> usize {
        let mut count = 0;
        // Counting does not fail.
        let _ = self.each(|_| {
            count += 1;
            Ok(())
        });
        count
    }
}
