//! Tests of the archive through its public interface.

mod journal;
