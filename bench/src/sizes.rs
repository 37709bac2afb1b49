//! How large the studies, holdings and loads of the table are.

/// How large everything is.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Instances of a large study, and of one association's turn.
    pub slices: u32,
    /// Large studies of the holdings: 60 KB slices, one series each.
    pub large_studies: u32,
    /// Small studies of the holdings, names in several scripts.
    pub small_studies: u32,
    /// How long a load with random requests lasts.
    pub load_seconds: u64,
    /// Sealed instances that a start is measured with.
    pub sealed_instances: u32,
    /// Bytes in the journal when the server is killed.
    pub journal_bytes: u64,
    /// Studies of the archives between which growth is measured, the smaller one first.
    pub growth: [u64; 2],
}

impl Sizes {
    /// What the targets speak of.
    pub fn full() -> Self {
        Self {
            slices: 1000,
            large_studies: 8,
            small_studies: 1000,
            load_seconds: 5,
            sealed_instances: 1_000_000,
            journal_bytes: 4 << 30,
            growth: [10_000, 1_000_000],
        }
    }

    /// Enough to see that everything works.
    pub fn smoke() -> Self {
        Self {
            slices: 24,
            large_studies: 2,
            small_studies: 20,
            load_seconds: 1,
            sealed_instances: 200,
            journal_bytes: 8 << 20,
            growth: [100, 200],
        }
    }
}
