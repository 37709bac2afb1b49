//! What is measured: processor time and memory of process trees, times of operations, and the limits of the machine.

pub mod limits;
pub mod machine;
pub mod pages;
pub mod times;
pub mod usage;
