//! Status codes of DIMSE responses (PS3.7 Annex C and the service classes of PS3.4).

use std::fmt;

/// A status (0000,0900).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

/// What a status means for the one who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Done.
    Success,
    /// Done, and there is something to know.
    Warning,
    /// Not done.
    Failure,
    /// More responses follow.
    Pending,
    /// Stopped as asked.
    Cancel,
}

impl Status {
    /// Done.
    pub const SUCCESS: Self = Self(0x0000);
    /// Processing failed for a reason that is ours (PS3.7 §C.5).
    pub const PROCESSING_FAILURE: Self = Self(0x0110);
    /// A command element is missing or has an impossible value.
    pub const INVALID_ARGUMENT: Self = Self(0x0115);
    /// The SOP Instance UID of the command is absent or no UID.
    pub const INVALID_SOP_INSTANCE: Self = Self(0x0117);
    /// The SOP class is not the one of the presentation context.
    pub const SOP_CLASS_NOT_SUPPORTED: Self = Self(0x0122);
    /// Not allowed for this peer.
    pub const NOT_AUTHORIZED: Self = Self(0x0124);
    /// No such operation.
    pub const UNRECOGNIZED_OPERATION: Self = Self(0x0211);
    /// The message ID is that of a message still being served.
    pub const DUPLICATE_INVOCATION: Self = Self(0x0210);
    /// Nothing can be stored or asked now; it may work later.
    pub const OUT_OF_RESOURCES: Self = Self(0xA700);
    /// Sub-operations cannot be performed (PS3.4 §C.4.2.1.5).
    pub const UNABLE_TO_PERFORM_SUB_OPERATIONS: Self = Self(0xA702);
    /// The move destination is not known.
    pub const MOVE_DESTINATION_UNKNOWN: Self = Self(0xA801);
    /// The data set does not fit the SOP class, or the identifier does not.
    pub const DATA_SET_MISMATCH: Self = Self(0xA900);
    /// Some sub-operations failed or warned.
    pub const SUB_OPERATIONS_WARNING: Self = Self(0xB000);
    /// The data set cannot be understood.
    pub const CANNOT_UNDERSTAND: Self = Self(0xC000);
    /// The Study Instance UID contradicts what is stored.
    pub const CONFLICT: Self = Self(0xC410);
    /// The instance was deleted here and stays so.
    pub const DELETED: Self = Self(0xC411);
    /// Stopped by C-CANCEL.
    pub const CANCEL: Self = Self(0xFE00);
    /// A match follows, and all keys were used.
    pub const PENDING: Self = Self(0xFF00);
    /// A match follows, and some optional keys were not used for matching.
    pub const PENDING_UNMATCHED_KEYS: Self = Self(0xFF01);

    /// Returns the category (PS3.7 §C).
    pub fn category(self) -> Category {
        match self.0 {
            0x0000 => Category::Success,
            // 0107 and 0116 are the two warnings outside Bxxx; 0001 is reserved for them.
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => Category::Warning,
            0xFE00 => Category::Cancel,
            0xFF00 | 0xFF01 => Category::Pending,
            _ => Category::Failure,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories() {
        // DI-054
        for (code, category) in [
            (0x0000, Category::Success),
            (0xB000, Category::Warning),
            (0xB007, Category::Warning),
            (0xA700, Category::Failure),
            (0x0110, Category::Failure),
            (0xC001, Category::Failure),
            (0xFE00, Category::Cancel),
            (0xFF01, Category::Pending),
        ] {
            assert_eq!(Status(code).category(), category, "{code:04X}");
        }
    }
}
