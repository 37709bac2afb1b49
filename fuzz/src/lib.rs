//! What the targets do that use only what the crates give everybody: data sets and character sets.

use dicom_data::{
    FileMetaRead, Limits, TransferSyntax, encode, find_bulk, fragment_table, native_frame_range, read, read_file_meta,
    read_identifiers, read_json, transfer_syntax, write_json,
};

/// Implicit, explicit, big endian, deflated, JPEG Baseline.
const SYNTAXES: [&str; 5] = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
];
const DEFLATED: &str = SYNTAXES[3];

/// Reads a data set in the encoding that the first byte chooses; one value of it chooses file meta information.
pub fn header(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let Some(uid) = SYNTAXES.get(usize::from(*kind) % (SYNTAXES.len() + 1)) else {
        if let Ok(FileMetaRead::Meta { data_set_offset, .. }) = read_file_meta(bytes) {
            assert!(data_set_offset <= bytes.len());
        }
        return;
    };
    let syntax = transfer_syntax(uid).expect("a known transfer syntax");
    let _identifiers = read_identifiers(bytes, syntax);
    for path in ["7FE00010", "00081115/0/00420011"] {
        let path = path.parse().expect("a bulk data path");
        if let Ok(Some(found)) = find_bulk(bytes, syntax, &path)
            && *uid != DEFLATED
        {
            assert!(found.offset + found.bytes <= length(bytes));
        }
    }
    whole(bytes, syntax, *uid == DEFLATED);
}

/// Reads a text, a name and a long text in the character set that the first line names.
pub fn charset(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (terms, value) = bytes.split_at(end);
    let mut data_set = element([8, 0, 5, 0], *b"CS", terms);
    data_set.extend(element([8, 0, 0x30, 0x10], *b"LO", value));
    data_set.extend(element([0x10, 0, 0x10, 0], *b"PN", value));
    data_set.extend(element([0x10, 0, 0, 0x40], *b"LT", value));
    whole(&data_set, transfer_syntax(SYNTAXES[1]).expect("explicit"), false);
}

fn whole(bytes: &[u8], syntax: &TransferSyntax, deflated: bool) {
    let Ok(parsed) = read(bytes, syntax, &Limits::default()) else {
        return;
    };
    let mut json = Vec::new();
    write_json(&parsed.attributes, &|path| path.to_string(), &mut json);
    let again = read_json(&json).expect("JSON that we wrote can be read");
    drop((encode(&parsed.attributes, syntax), encode(&again, syntax)));
    let Some(pixels) = parsed.pixel_data.filter(|_| !deflated) else {
        return;
    };
    assert!(pixels.offset + pixels.bytes <= length(bytes));
    let _range = native_frame_range(&parsed.attributes, pixels.bytes, 1);
    if let Ok(table) = fragment_table(bytes, &pixels, &parsed.attributes) {
        for fragment in table.all() {
            assert!(fragment.offset + fragment.bytes <= length(bytes));
        }
    }
}

fn element(tag: [u8; 4], vr: [u8; 2], value: &[u8]) -> Vec<u8> {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    let bytes = u16::try_from(value.len()).expect("cut").to_le_bytes();
    [&tag[..], &vr, &bytes, value].concat()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a slice is shorter than 2^64")
}
