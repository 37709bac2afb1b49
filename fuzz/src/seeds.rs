//! Writes a small corpus for every target below `corpus/` of the directory that it is given (here: `fuzz`).

use std::path::Path;
use std::{env, fs, io};

use dicom_data::write_file_meta;

fn main() -> io::Result<()> {
    let directory = env::args().nth(1).unwrap_or_else(|| "fuzz".to_owned());
    let corpus = Path::new(&directory).join("corpus");
    for (target, seeds) in [
        ("pdu", dicom_net::fuzzing::pdu_seeds()),
        ("command_set", dicom_net::fuzzing::command_seeds()),
        ("header", headers()),
        ("charset", charsets()),
        ("toc", tiering::fuzzing::toc_seeds()),
        ("multipart", dicomweb::fuzzing::multipart_seeds()),
        ("accept", dicomweb::fuzzing::accept_seeds()),
        ("query", dicomweb::fuzzing::query_seeds()),
    ] {
        fs::create_dir_all(corpus.join(target))?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(corpus.join(target).join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

/// A data set as it comes and as a file, after a byte that says how it is encoded; a sequence in a sequence with undefined
/// lengths, Pixel Data in fragments; and a deflated one.
fn headers() -> Vec<Vec<u8>> {
    let data_set = b"\x08\0\x05\0CS\x0A\0ISO_IR 192\x08\0\x16\0UI\x04\x001.2\0\x08\0\x18\0UI\x04\x001.3\0\x08\0\x20\0DA\x08\x0020240101\
        \x10\0\x10\0PN\x06\0A^B=C \x20\0\x0D\0UI\x04\x001.4\0\x20\0\x0E\0UI\x04\x001.5\0\x20\0\x13\0IS\x02\x007 \
        \x28\0\x10\0US\x02\0\x02\0\x28\0\x11\0US\x02\0\x02\0\x28\0\0\x01US\x02\0\x08\0\xE0\x7F\x10\0OW\0\0\x04\0\0\0abcd";
    let uid = |text: &str| text.parse().expect("a UID");
    let file = write_file_meta(&uid("1.2"), &uid("1.3"), &uid("1.2.840.10008.1.2.1"), Some("PROBE"));
    let mut seeds = vec![[&[1][..], data_set].concat(), [&[5][..], &file, data_set].concat()];
    let nested = b"\x01\x08\0\x15\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\x08\0\x40\x11UN\0\0\xFF\xFF\xFF\xFF\
        \xFE\xFF\0\xE0\x08\0\0\0\x08\0\x05\0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0";
    let fragments =
        b"\x04\x28\0\x08\0IS\x02\x002 \xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\x08\0\0\0\0\0\0\0\x0A\0\0\0\
        \xFE\xFF\0\xE0\x02\0\0\0ab\xFE\xFF\0\xE0\x02\0\0\0cd\xFE\xFF\xDD\xE0\0\0\0\0";
    // The stored form of deflate: one block, its length, its complement, the bytes.
    let deflated = b"\x03\x01\x0E\0\xF1\xFF\x10\0\x10\0PN\x06\0A^B   ";
    seeds.extend([nested.to_vec(), fragments.to_vec(), deflated.to_vec(), b"\0\x10\0\x10\0\x04\0\0\0A^B ".to_vec()]);
    seeds
}

fn charsets() -> Vec<Vec<u8>> {
    [
        &b"ISO_IR 100\nM\xFCller^J\xF6rg"[..],
        b"\\ISO 2022 IR 87\nYamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B",
        b"ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159\n\xD4\xCF\xC0\xDE\x1B$(D0!\x1B(J",
        b"\\ISO 2022 IR 149\nHong^Gildong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE",
        b"\\ISO 2022 IR 58\n\x1B$)A\xCD\xF5",
        b"GB18030\nWang^XiaoDong=\xCD\xF5^\xD0\xA1\xB6\xAB\\\x81\x30\x81\x30",
        b"GBK\n\xCD\x5C\xF5",
        b"ISO_IR 192\n\xE7\x8E\x8B^\xF0\x9F",
        b"ISO_IR 166\n\xA1\xA2",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}
