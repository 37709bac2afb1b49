//! The index in Postgres (contract; the module is written beside it).
