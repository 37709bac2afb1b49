//! Data sets in the deflated transfer syntax (PS3.5 §A.5): one raw deflate stream, inflated under two limits.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Limits, ReadError, Source};

/// Bytes taken from the source and made at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Output up to this is never held against the ratio: short texts of zeros are no attack.
const RATIO_FLOOR_BYTES: u64 = 16 << 20;

/// Inflates a data set. A damaged or cut stream gives what was inflated before the damage.
///
/// Memory is at most `limits.inflated_bytes_max` and a chunk. A stream that goes beyond that, or that grows
/// by more than `limits.inflate_ratio_max`, is an error.
pub fn inflate<S: Source + ?Sized>(source: &S, limits: &Limits) -> Result<Vec<u8>, ReadError> {
    let (bytes, more) = run(source, limits.inflated_bytes_max, limits.inflate_ratio_max)?;
    if more {
        return Err(ReadError::malformed(0, "it inflates to more than the limit"));
    }
    Ok(bytes)
}

/// Inflates at least the first `bytes` bytes, if there are as many.
pub(super) fn inflate_prefix<S: Source + ?Sized>(source: &S, bytes: u64) -> Result<Vec<u8>, ReadError> {
    run(source, bytes, u64::MAX).map(|(bytes, _)| bytes)
}

/// Inflates until a limit is passed; also says whether one was.
fn run<S: Source + ?Sized>(source: &S, bytes_max: u64, ratio_max: u64) -> Result<(Vec<u8>, bool), ReadError> {
    let mut stream = Decompress::new(false);
    let mut out = Vec::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let input = source.read(stream.total_in(), CHUNK_BYTES)?;
        let before = (stream.total_in(), stream.total_out());
        let status = stream.decompress(&input, &mut buffer, FlushDecompress::None);
        let made = usize::try_from(stream.total_out() - before.1).unwrap_or(usize::MAX);
        out.extend_from_slice(buffer.get(..made).unwrap_or_default());
        let passed = stream.total_out() > bytes_max
            || (stream.total_out() > RATIO_FLOOR_BYTES && stream.total_out() / ratio_max > stream.total_in());
        if passed {
            return Ok((out, true));
        }
        let stuck = before == (stream.total_in(), stream.total_out());
        match status {
            Ok(Status::Ok | Status::BufError) if !stuck => {}
            Ok(Status::Ok | Status::BufError | Status::StreamEnd) | Err(_) => {
                return Ok((out, false));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_stream_comes_back_and_a_cut_one_in_part() {
        // ST-027
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut stream = deflated(&bytes);
        assert_eq!(inflate(stream.as_slice(), &Limits::default()).unwrap(), bytes);
        stream.push(0); // even padding
        assert_eq!(inflate(stream.as_slice(), &Limits::default()).unwrap(), bytes);
        let part = inflate(&stream[..stream.len() / 2], &Limits::default()).unwrap();
        assert!(!part.is_empty() && bytes.starts_with(&part));
    }

    #[test]
    fn a_bomb_stops_at_either_limit() {
        // ST-027
        let bomb = deflated(&vec![0; 40 << 20]);
        assert!(bomb.len() < 50_000);
        let limits = Limits::default();
        assert!(inflate(bomb.as_slice(), &limits).is_err());
        let limits = Limits { inflate_ratio_max: 2000, inflated_bytes_max: 1 << 20, ..limits };
        assert!(inflate(bomb.as_slice(), &limits).is_err());
        assert!(inflate_prefix(bomb.as_slice(), 1000).unwrap().len() <= 1000 + CHUNK_BYTES);
    }
}
