//! Writes generated studies as DICOM files, for trials by hand and for tests of other programs.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use testdata::{Charset, Encoding, Modality, StudySpec, part10, study};

/// Writes generated DICOM studies; the same arguments give the same files.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory to write into; each study gets a directory of its own.
    #[arg(long)]
    out: PathBuf,
    /// Number of studies.
    #[arg(long, default_value_t = 1)]
    studies: u64,
    /// Number of series of a study.
    #[arg(long, default_value_t = 1)]
    series: u32,
    /// Number of instances of a series.
    #[arg(long, default_value_t = 32)]
    instances: u32,
    /// Seed of the first study; the others count on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rows and columns of a frame.
    #[arg(long, default_value_t = 172)]
    side: u16,
    /// Frames of an instance.
    #[arg(long, default_value_t = 1)]
    frames: u16,
    /// Character set of the patient's name.
    #[arg(long, value_enum, default_value_t = CharsetName::Ascii)]
    charset: CharsetName,
    /// Transfer syntax.
    #[arg(long, value_enum, default_value_t = EncodingName::Explicit)]
    encoding: EncodingName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CharsetName {
    Ascii,
    Latin1,
    Utf8,
    Gb18030,
    Japanese,
    Korean,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EncodingName {
    Explicit,
    Implicit,
    Rle,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut files = 0_u64;
    for number in 0..arguments.studies {
        let spec = spec(&arguments, arguments.seed.wrapping_add(number));
        let directory = arguments.out.join(format!("study-{}", spec.seed));
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        for instance in study(spec) {
            let path = directory.join(format!("{}.dcm", instance.sop_instance_uid));
            fs::write(&path, part10(&instance)).with_context(|| format!("write {}", path.display()))?;
            files += 1;
        }
    }
    writeln!(io::stdout(), "wrote {files} files below {}", arguments.out.display())?;
    Ok(())
}

fn spec(arguments: &Arguments, seed: u64) -> StudySpec {
    StudySpec {
        seed,
        series: arguments.series,
        instances_per_series: arguments.instances,
        rows: arguments.side,
        columns: arguments.side,
        frames: arguments.frames,
        modality: if arguments.frames > 1 { Modality::Ot } else { Modality::Ct },
        charset: match arguments.charset {
            CharsetName::Ascii => Charset::Ascii,
            CharsetName::Latin1 => Charset::Latin1,
            CharsetName::Utf8 => Charset::Utf8,
            CharsetName::Gb18030 => Charset::Gb18030,
            CharsetName::Japanese => Charset::Iso2022Ir87,
            CharsetName::Korean => Charset::Iso2022Ir149,
        },
        encoding: match arguments.encoding {
            EncodingName::Explicit => Encoding::ExplicitLittleEndian,
            EncodingName::Implicit => Encoding::ImplicitLittleEndian,
            EncodingName::Rle => Encoding::RleLossless,
        },
        study_date: None,
    }
}
