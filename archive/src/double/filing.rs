//! What the double does with instances that are stored.

use dicom_data::{Identifiers, transfer_syntax};

use crate::{Error, Origin};

/// What goes wrong with an instance that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// `receive` fails.
    Full,
    /// `finish` takes a while.
    Slow,
    /// `finish` never returns.
    Hangs,
}

/// How the double finds the UIDs of a data set. `Default` reads them from it, as the archive does; tests whose data
/// sets are mere text bring functions of their own.
#[derive(Debug, Clone, Copy)]
pub struct Identify {
    /// Looks at the bytes that have come so far, after each piece; an error refuses the instance.
    pub begin: fn(&[u8]) -> Result<(), Error>,
    /// Returns the UIDs, or why the instance is not stored.
    pub finish: fn(&Origin, &[u8]) -> Result<Identifiers, Error>,
}

impl Default for Identify {
    fn default() -> Self {
        Self { begin: |_| Ok(()), finish: read }
    }
}

/// Whether the double keeps what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeping {
    /// It keeps everything.
    #[default]
    Everything,
    /// It acknowledges instances and drops them, for measurements of the adapter alone.
    Nothing,
}

fn read(origin: &Origin, data_set: &[u8]) -> Result<Identifiers, Error> {
    let syntax = transfer_syntax(origin.transfer_syntax_uid.as_str()).ok_or(Error::TransferSyntaxNotSupported)?;
    Ok(dicom_data::read_identifiers(data_set, syntax)?)
}
