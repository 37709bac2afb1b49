//! What a container says of the levels above its instances, to make their rows again.

use std::collections::HashMap;

use dicom_data::Attributes;

use crate::error::Error;
use crate::json;
use crate::new_container::NewSegment;

/// What a summary says.
pub(crate) struct Summary {
    pub(crate) patient: Attributes,
    pub(crate) study: Attributes,
    pub(crate) series: Attributes,
}

impl Summary {
    /// Reads the summary of a segment.
    pub(crate) fn of(segment: &NewSegment) -> Result<Self, Error> {
        let damaged = Error::Damaged { what: "series summary" };
        let Ok(json) = serde_json::from_slice::<HashMap<String, serde_json::Value>>(&segment.summary) else {
            return Err(damaged);
        };
        let part = |key: &str| json.get(key).map_or_else(|| Ok(Attributes::default()), json::read_value);
        Ok(Self { patient: part("patient")?, study: part("study")?, series: part("series")? })
    }
}
