//! DICOM files (PS3.10 §7): preamble, prefix, file meta information, data set.

use crate::element::{Elements, Form};
use crate::study::Instance;

/// Implementation Class UID written into files: a UUID-derived identifier of this generator.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.170530423871938561620973385624391203853";

/// Returns the instance as the bytes of a file.
pub fn part10(instance: &Instance) -> Vec<u8> {
    let mut meta = Elements::new(Form::Explicit);
    meta.binary(0x0002_0001, *b"OB", &[0, 1]);
    meta.uid(0x0002_0002, instance.sop_class_uid);
    meta.uid(0x0002_0003, &instance.sop_instance_uid);
    meta.uid(0x0002_0010, instance.transfer_syntax_uid);
    meta.uid(0x0002_0012, IMPLEMENTATION_CLASS_UID);
    meta.text(0x0002_0013, *b"SH", "TESTDATA");
    let meta = meta.into_bytes();
    let mut length = Elements::new(Form::Explicit);
    let meta_bytes = u32::try_from(meta.len()).expect("some hundred bytes");
    length.binary(0x0002_0000, *b"UL", &meta_bytes.to_le_bytes());

    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    file.extend_from_slice(&length.into_bytes());
    file.extend_from_slice(&meta);
    file.extend_from_slice(&instance.data_set);
    file
}

#[cfg(test)]
mod tests {
    use crate::{StudySpec, part10, study};

    #[test]
    fn file_ends_with_the_data_set_and_counts_its_meta_information() {
        let instance = study(StudySpec::default()).next().unwrap();
        let file = part10(&instance);
        assert_eq!(&file[128..132], b"DICM");
        assert_eq!(&file[132..140], b"\x02\0\0\0UL\x04\0");
        let meta_bytes = u32::from_le_bytes(file[140..144].try_into().unwrap());
        let data_set = 144 + usize::try_from(meta_bytes).unwrap();
        assert_eq!(&file[data_set..], &instance.data_set);
    }
}
