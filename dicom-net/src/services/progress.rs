//! How far the sub-operations of a retrieve have come (PS3.4 §C.4.2.1.6 to §C.4.2.1.9).

use archive::InstanceRef;
use dicom_data::Uid;

use crate::command::{CommandSet, element};
use crate::status::{Category, Status};

/// Counts sub-operations; their sum is always the total (DI-085).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    total: usize,
    completed: usize,
    warning: usize,
    failed: Vec<Uid>,
}

impl Progress {
    pub(super) fn of(total: usize) -> Self {
        Self { total, ..Self::default() }
    }

    /// Counts one sub-operation by the status of its C-STORE response (DI-054).
    pub(super) fn count(&mut self, instance: &InstanceRef, status: Status) {
        match status.category() {
            Category::Success => self.completed += 1,
            Category::Warning => self.warning += 1,
            Category::Failure | Category::Pending | Category::Cancel => self.fail(instance),
        }
    }

    /// Counts one sub-operation that could not be performed.
    pub(super) fn fail(&mut self, instance: &InstanceRef) {
        self.failed.push(instance.sop_instance_uid.clone());
    }

    /// Returns the instances that were not sent.
    pub(super) fn failed(&self) -> impl Iterator<Item = &Uid> {
        self.failed.iter()
    }

    /// Tells whether any sub-operation failed.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Returns the final status (DI-083).
    pub(super) fn final_status(&self) -> Status {
        if self.failed.is_empty() && self.warning == 0 {
            Status::SUCCESS
        } else if self.failed.len() == self.total {
            Status::UNABLE_TO_PERFORM_SUB_OPERATIONS
        } else {
            Status::SUB_OPERATIONS_WARNING
        }
    }

    /// Puts the counters into a response; Remaining only where more could follow (DI-084).
    pub(super) fn put(&self, response: CommandSet, status: Status) -> CommandSet {
        let done = self.completed + self.warning + self.failed.len();
        let response = match status {
            Status::PENDING | Status::CANCEL => {
                response.with_u16(element::REMAINING, clamped(self.total.saturating_sub(done)))
            }
            _ => response,
        };
        response
            .with_u16(element::COMPLETED, clamped(self.completed))
            .with_u16(element::FAILED, clamped(self.failed.len()))
            .with_u16(element::WARNING, clamped(self.warning))
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (completed, warning, failed) = (self.completed, self.warning, self.failed.len());
        write!(f, "{completed} completed, {warning} warned, {failed} failed of {}", self.total)
    }
}

/// The counters have 16 bits; more sub-operations are told as 65,535.
fn clamped(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(completed: usize, warning: usize, failed: usize) -> Progress {
        let failed = vec!["1.2".parse().unwrap(); failed];
        Progress { total: completed + warning + failed.len(), completed, warning, failed }
    }

    #[test]
    fn final_statuses() {
        // DI-083, DI-089
        for (completed, warning, failed, status) in [
            (0, 0, 0, 0x0000),
            (3, 0, 0, 0x0000),
            (2, 1, 0, 0xB000),
            (0, 3, 0, 0xB000),
            (2, 0, 1, 0xB000),
            (0, 1, 2, 0xB000),
            (0, 0, 3, 0xA702),
        ] {
            assert_eq!(progress(completed, warning, failed).final_status().0, status);
        }
    }

    #[test]
    fn counters_are_clamped_and_remaining_is_told_while_more_follows() {
        // DI-084, DI-085
        let mut far = progress(5, 0, 0);
        far.total = 70_005;
        let pending = far.put(CommandSet::default(), Status::PENDING);
        assert_eq!(pending.number(element::REMAINING), Some(u16::MAX));
        assert_eq!(pending.number(element::COMPLETED), Some(5));
        let cancelled = far.put(CommandSet::default(), Status::CANCEL);
        assert_eq!(cancelled.number(element::REMAINING), Some(u16::MAX));
        let last = far.put(CommandSet::default(), Status::SUCCESS);
        assert_eq!(last.number(element::REMAINING), None);
        assert_eq!(last.number(element::WARNING), Some(0));
    }
}
