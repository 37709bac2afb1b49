//! What the command line offers.

pub(crate) mod crash;
pub(crate) mod growth;
pub(crate) mod memory;
pub(crate) mod table;
pub(crate) mod work;
