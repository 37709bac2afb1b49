//! RLE Lossless (PS3.5 §G) of 16-bit grayscale frames.

/// Bytes of the RLE header: the number of segments and fifteen offsets (PS3.5 §G.5).
const HEADER_BYTES: usize = 64;

/// Encodes one frame of 16-bit little endian words: two segments, the more significant bytes first.
pub(crate) fn encode(words: &[u8]) -> Vec<u8> {
    let high: Vec<u8> = words.iter().skip(1).step_by(2).copied().collect();
    let low: Vec<u8> = words.iter().step_by(2).copied().collect();
    let (high, low) = (segment(&high), segment(&low));
    let mut frame = vec![0; HEADER_BYTES];
    let first = u32::try_from(HEADER_BYTES).expect("64");
    let second = first + u32::try_from(high.len()).expect("a generated frame is far below 4 GiB");
    for (place, value) in frame.chunks_exact_mut(4).zip([2, first, second]) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    frame.extend_from_slice(&high);
    frame.extend_from_slice(&low);
    frame
}

/// Encodes one segment (PS3.5 §G.3.1), padded to even length.
fn segment(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len() / 2);
    while let Some(first) = rest.first() {
        let run = rest.iter().take(128).take_while(|b| *b == first).count();
        if run >= 2 {
            // A replicate run: 257 - count, then the byte.
            out.push(u8::try_from(257 - run).expect("a run is 2 to 128 bytes"));
            out.push(*first);
            rest = rest.get(run..).unwrap_or_default();
        } else {
            let literal = literal_bytes(rest);
            out.push(u8::try_from(literal - 1).expect("a literal is 1 to 128 bytes"));
            let (head, tail) = rest.split_at(literal);
            out.extend_from_slice(head);
            rest = tail;
        }
    }
    if !out.len().is_multiple_of(2) {
        out.push(0);
    }
    out
}

/// Returns how many bytes lie before the next pair of equal ones, 1 to 128.
fn literal_bytes(rest: &[u8]) -> usize {
    let pair = rest.windows(2).position(|w| matches!(w, [a, b] if a == b));
    pair.unwrap_or(rest.len()).clamp(1, 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut rest: &[u8], bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < bytes {
            let control = rest[0];
            if control < 128 {
                let literal = usize::from(control) + 1;
                out.extend_from_slice(&rest[1..=literal]);
                rest = &rest[literal + 1..];
            } else {
                out.extend(std::iter::repeat_n(rest[1], 257 - usize::from(control)));
                rest = &rest[2..];
            }
        }
        out
    }

    #[test]
    fn segments_decode_to_what_they_encode() {
        let pixels = crate::phantom::slice(40, 40, 5, 3);
        for bytes in [pixels.as_slice(), &[1], &[1, 1], &[1, 2, 2, 3], &[7; 300]] {
            assert_eq!(decode(&segment(bytes), bytes.len()), bytes);
        }
    }

    #[test]
    fn header_names_two_segments() {
        let frame = encode(&[1, 0, 2, 0]);
        assert_eq!(&frame[..8], &[2, 0, 0, 0, 64, 0, 0, 0]);
        assert_eq!(decode(&frame[64..], 2), [0, 0]);
    }
}
