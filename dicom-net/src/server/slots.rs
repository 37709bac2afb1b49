//! How many associations may be open, in all and for one calling AE title (UL-011).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ae_title::AeTitle;

/// Counts open associations.
#[derive(Debug)]
pub(super) struct Slots {
    open: Arc<Mutex<Open>>,
    all_max: usize,
    one_max: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_calling_ae: HashMap<AeTitle, usize>,
}

/// The right to one association; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Slot {
    open: Arc<Mutex<Open>>,
    calling_ae: AeTitle,
}

impl Slots {
    pub(super) fn new(all_max: usize, one_max: usize) -> Self {
        Self { open: Arc::default(), all_max, one_max }
    }

    /// Takes a slot, `None` when there is none left.
    pub(super) fn take(&self, calling_ae: &AeTitle) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let one = open.by_calling_ae.get(calling_ae).copied().unwrap_or(0);
        if open.all >= self.all_max || one >= self.one_max {
            return None;
        }
        open.all += 1;
        open.by_calling_ae.insert(calling_ae.clone(), one + 1);
        Some(Slot { open: Arc::clone(&self.open), calling_ae: calling_ae.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        let one = open.by_calling_ae.get(&self.calling_ae).copied().unwrap_or(0);
        if one <= 1 {
            open.by_calling_ae.remove(&self.calling_ae);
        } else {
            open.by_calling_ae.insert(self.calling_ae.clone(), one - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_slots_come_back() {
        // UL-011
        let slots = Slots::new(3, 2);
        let (a, b): (AeTitle, AeTitle) = ("A".parse().unwrap(), "B".parse().unwrap());
        let first = slots.take(&a);
        let second = slots.take(&a);
        assert!(first.is_some() && second.is_some() && slots.take(&a).is_none());
        let third = slots.take(&b);
        assert!(third.is_some() && slots.take(&b).is_none());
        drop(first);
        assert!(slots.take(&a).is_some());
        drop((second, third));
        assert!(slots.open.lock().unwrap().by_calling_ae.is_empty());
    }
}
