//! What the bench says: JSON lines, a table, and progress on stderr.

mod outcome;
mod table;

use std::io::{self, Write as _};

pub use outcome::{Better, Outcome, Target};
pub use table::table;

/// Says on stderr what is being done.
pub fn progress(text: &str) {
    drop(writeln!(io::stderr(), "{text}")); // a closed stderr is not an error
}
