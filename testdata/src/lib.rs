//! Generates deterministic studies by seed: the same seed gives the same bytes on every machine.
//!
//! There is no patient behind any of it: names, identifiers and pixels are made up. The crate depends on no
//! other crate of Filmroom, so that what it writes is an independent check of what they read.
//!
//! ```
//! let spec = testdata::StudySpec { seed: 7, instances_per_series: 2, ..Default::default() };
//! let instances: Vec<_> = testdata::study(spec).collect();
//! assert_eq!(instances.len(), 2);
//! ```

mod element;
mod names;
mod part10;
mod phantom;
mod population;
mod random;
mod rle;
mod study;

pub use names::Charset;
pub use part10::{IMPLEMENTATION_CLASS_UID, part10};
pub use population::{DAYS, Population, SmallStudy};
pub use study::{Encoding, Instance, Modality, StudySpec, study};
