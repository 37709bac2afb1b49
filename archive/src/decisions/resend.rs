//! What to answer when an instance comes whose UIDs are stored already (CONFORMANCE ST-040, ST-041).

/// Length and CRC-32C of a data set.
type Checksum = (u64, u32);

/// What is known of the stored instance and of the one that came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Of the stored data set, from when it was acknowledged.
    pub(crate) stored: Checksum,
    /// Of the data set that came.
    pub(crate) sent: Checksum,
    /// Whether every byte agrees; `None` until they were compared.
    pub(crate) bytes_agree: Option<bool>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read the stored data set and compare every byte.
    CompareBytes,
    /// Answer success: the sender gets the same answer as the first time.
    AnswerSuccess,
    /// Refuse: the first instance is kept.
    RefuseOther,
}

/// Decides. Equal checksums alone prove nothing: bytes are thrown away only after all of them were compared.
pub(crate) fn decide(facts: &Facts) -> Step {
    if facts.stored != facts.sent {
        return Step::RefuseOther;
    }
    match facts.bytes_agree {
        None => Step::CompareBytes,
        Some(true) => Step::AnswerSuccess,
        Some(false) => Step::RefuseOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_were_compared_are_a_success() {
        let same = Facts { stored: (9, 1), sent: (9, 1), bytes_agree: None };
        assert_eq!(decide(&same), Step::CompareBytes);
        assert_eq!(decide(&Facts { bytes_agree: Some(true), ..same }), Step::AnswerSuccess);
        assert_eq!(decide(&Facts { bytes_agree: Some(false), ..same }), Step::RefuseOther);
    }

    #[test]
    fn another_length_or_checksum_is_refused_without_reading() {
        for sent in [(8, 1), (9, 2)] {
            let facts = Facts { stored: (9, 1), sent, bytes_agree: None };
            assert_eq!(decide(&facts), Step::RefuseOther);
        }
    }
}
