//! How much memory headers take that are being read for clients. A header made of empty elements or items costs 24 times its
//! length while it is read, and a deflated one 256 MiB: without a budget, many readers at once would exhaust the memory.

use dicom_data::TransferSyntax;

use super::budget::{Budget, Permit};

/// Memory of all headers that are being read, in KiB.
const ALL_KIB: u32 = 256 << 10;
/// Memory of one that is not deflated, in KiB; `Limits` see to that.
const ONE_KIB_MAX: u32 = 128 << 10;
/// Memory that a byte of the data set can cost: an element of 10 bytes takes 150 while their list grows.
const COST_OF_A_BYTE: u64 = 24;

/// The budget of headers that are being read. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct HeaderBudget(Budget);

impl HeaderBudget {
    pub(crate) fn new() -> Self {
        Self(Budget::of_kib(ALL_KIB))
    }

    /// Waits until the header of a data set of this length may be read; the reader keeps the permit meanwhile.
    pub(crate) async fn permit(&self, bytes: u64, syntax: &TransferSyntax) -> Permit {
        self.0.permit_kib(cost_kib(bytes, syntax.deflated)).await
    }
}

fn cost_kib(bytes: u64, deflated: bool) -> u32 {
    if deflated {
        return ALL_KIB;
    }
    let cost_kib = bytes.saturating_mul(COST_OF_A_BYTE) / 1024;
    u32::try_from(cost_kib).unwrap_or(u32::MAX).clamp(1, ONE_KIB_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_headers_are_read_side_by_side_and_large_ones_are_not() {
        // ST-072
        for (bytes, deflated, together) in
            [(60_000, false, 186), (500_000, false, 22), (1 << 40, false, 2), (9, true, 1)]
        {
            assert_eq!(ALL_KIB / cost_kib(bytes, deflated), together, "{bytes}");
        }
    }
}
