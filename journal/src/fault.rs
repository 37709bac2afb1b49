//! What a copy does wrong on demand, the same for directories and for memory.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

/// How often a copy that hangs on demand looks whether it still has to.
const HANG_LOOK: Duration = Duration::from_millis(5);

/// What a copy does wrong, for tests of the journal and of what stands on it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every write fails with EIO.
    Write,
    /// Every flush fails with EIO.
    Flush,
    /// A new segment and every write to a large file find no space.
    NoSpace,
    /// Half of each write is done, then EIO.
    TornWrite,
    /// Every write waits until the fault is another one.
    Hang,
    /// The file system has become read-only: everything but flushing and reading fails with EROFS.
    ReadOnly,
}

const FAULTS: [Fault; 7] =
    [Fault::None, Fault::Write, Fault::Flush, Fault::NoSpace, Fault::TornWrite, Fault::Hang, Fault::ReadOnly];

/// What is about to be done to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Writing records to a segment.
    Write,
    /// Writing to a large file.
    WriteLarge,
    /// Making written bytes durable.
    Flush,
    /// Creating a segment.
    CreateSegment,
    /// Writing `journal.json`, which flushes it too.
    WriteNote,
    /// Creating a large file; removing or cutting any file.
    ChangeNames,
}

/// Whether a step is done whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// The first half; then it fails with EIO.
    Half,
}

/// The faults of one copy: the present one, and those to come.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    present: AtomicU8,
    /// Whether there is a plan, so that a copy without one takes no lock.
    planned: AtomicBool,
    /// How many steps are done before each fault begins, counted from the one before.
    plan: Mutex<VecDeque<(u64, Fault)>>,
}

impl Faults {
    /// Has everything from now on go wrong in this way.
    pub(crate) fn set(&self, fault: Fault) {
        let number = FAULTS.iter().position(|&known| known == fault).unwrap_or_default();
        self.present.store(u8::try_from(number).unwrap_or_default(), Ordering::Release);
    }

    /// Has each fault begin after as many steps, counted from the beginning of the one before.
    pub(crate) fn plan(&self, plan: impl IntoIterator<Item = (u64, Fault)>) {
        let mut planned = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        *planned = plan.into_iter().collect();
        self.planned.store(!planned.is_empty(), Ordering::Release);
    }

    /// Called before each step: waits, or fails as the present fault says.
    pub(crate) fn before(&self, step: Step) -> io::Result<Extent> {
        if self.planned.load(Ordering::Acquire) {
            self.advance();
        }
        while step == Step::Write && self.present() == Fault::Hang {
            std::thread::park_timeout(HANG_LOOK);
        }
        match (self.present(), step) {
            (Fault::Write, Step::Write | Step::WriteLarge | Step::WriteNote)
            | (Fault::Flush, Step::Flush | Step::WriteNote)
            | (Fault::TornWrite, Step::WriteLarge | Step::WriteNote) => Err(Errno::IO.into()),
            (Fault::NoSpace, Step::CreateSegment | Step::WriteLarge) => Err(Errno::NOSPC.into()),
            (Fault::TornWrite, Step::Write) => Ok(Extent::Half),
            (Fault::ReadOnly, step) if step != Step::Flush => Err(Errno::ROFS.into()),
            _ => Ok(Extent::Whole),
        }
    }

    fn present(&self) -> Fault {
        FAULTS.get(usize::from(self.present.load(Ordering::Acquire))).copied().unwrap_or(Fault::None)
    }

    fn advance(&self) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        match plan.front_mut() {
            Some((0, fault)) => {
                self.set(*fault);
                plan.pop_front();
                self.planned.store(!plan.is_empty(), Ordering::Release);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_faults_begin_after_as_many_steps_and_last_until_the_next() {
        let faults = Faults::default();
        faults.plan([(2, Fault::Write), (1, Fault::None)]);
        let outcomes: Vec<bool> = (0..6).map(|_| faults.before(Step::Write).is_ok()).collect();
        assert_eq!(outcomes, [true, true, false, false, true, true]);
    }

    #[test]
    fn each_fault_meets_its_steps_and_no_others() {
        let faults = Faults::default();
        let steps =
            [Step::Write, Step::WriteLarge, Step::Flush, Step::CreateSegment, Step::WriteNote, Step::ChangeNames];
        for (fault, failing) in [
            (Fault::None, vec![]),
            (Fault::Write, vec![Step::Write, Step::WriteLarge, Step::WriteNote]),
            (Fault::Flush, vec![Step::Flush, Step::WriteNote]),
            (Fault::NoSpace, vec![Step::WriteLarge, Step::CreateSegment]),
            (Fault::TornWrite, vec![Step::Write, Step::WriteLarge, Step::WriteNote]),
            (
                Fault::ReadOnly,
                vec![Step::Write, Step::WriteLarge, Step::CreateSegment, Step::WriteNote, Step::ChangeNames],
            ),
        ] {
            faults.set(fault);
            let failed: Vec<Step> =
                steps.into_iter().filter(|&step| !matches!(faults.before(step), Ok(Extent::Whole))).collect();
            assert_eq!(failed, failing, "{fault:?}");
        }
    }
}
