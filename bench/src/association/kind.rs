//! What a presentation context is for.

/// A SOP class and the transfer syntax its instances have.
pub type Kind = (&'static str, &'static str);

/// Verification.
pub const ECHO: Kind = ("1.2.840.10008.1.1", "1.2.840.10008.1.2");
/// Study Root Query/Retrieve Information Model - FIND.
pub const FIND: Kind = ("1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.2");
