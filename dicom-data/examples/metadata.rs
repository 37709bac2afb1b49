//! Prints the DICOM JSON metadata of files, one line each: what the metadata of WADO-RS would say.

use std::io::Write;

use dicom_data::{FileMetaRead, Limits, read, read_file_meta, read_identifiers, transfer_syntax, write_json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let (syntax, data_set) = match read_file_meta(&bytes)? {
            FileMetaRead::Meta { meta, data_set_offset } => (
                meta.transfer_syntax_uid.map_or("1.2.840.10008.1.2".to_owned(), |uid| uid.to_string()),
                bytes.get(data_set_offset..).unwrap_or_default(),
            ),
            FileMetaRead::NeedMore | FileMetaRead::NotPart10 => {
                writeln!(out, "{path}\tERROR no file meta information")?;
                continue;
            }
        };
        let Some(syntax) = transfer_syntax(&syntax) else {
            writeln!(out, "{path}\tERROR unknown transfer syntax")?;
            continue;
        };
        match read(data_set, syntax, &Limits::default()) {
            Ok(parsed) => {
                let mut json = Vec::new();
                write_json(&parsed.attributes, &|path| path.to_string(), &mut json);
                let state = if parsed.complete { "complete" } else { "partial" };
                let ids = read_identifiers(data_set, syntax)
                    .map_or_else(|e| e.to_string(), |i| i.sop_instance_uid.to_string());
                writeln!(out, "{path}\t{state}\t{ids}\t{}", String::from_utf8(json)?)?;
            }
            Err(error) => writeln!(out, "{path}\tERROR {error}")?,
        }
    }
    Ok(())
}
