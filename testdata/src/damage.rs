//! Damages bytes by seed, the way broken software and attackers do.

use crate::random::Random;

/// Most damages of one call.
const DAMAGES_MAX: u64 = 6;
/// Longest piece that is cut out, doubled or filled.
const PIECE_BYTES_MAX: u64 = 64;
/// Bytes that mean something to DICOM, HTTP and every length field.
const TELLING: [u8; 16] = [0, 1, 2, 3, 0x7F, 0x80, 0xFE, 0xFF, 0xE0, 0x0D, 0xDD, b'\r', b'\n', b'-', b'"', b'\\'];

/// Changes bytes in one to six places: flips, telling values, lengths of 4 GiB, pieces cut out, doubled or cut off.
/// The same seed damages the same bytes in the same way.
pub fn damage(bytes: &mut Vec<u8>, seed: u64) {
    let mut random = Random::new(seed, 0xDA3A);
    let damages = 1 + random.next() % DAMAGES_MAX;
    for _ in 0..damages {
        damage_once(bytes, &mut random);
    }
}

fn damage_once(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = below(random, bytes.len() + 1);
    let piece = at..bytes.len().min(at + below(random, usize::try_from(PIECE_BYTES_MAX).unwrap_or(1)));
    match random.next() % 8 {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (random.next() % 8)),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = telling(random)),
        2 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xFF),
        3 => bytes.iter_mut().skip(at).take(2).for_each(|byte| *byte = telling(random)),
        4 => bytes.insert(at, telling(random)),
        5 => drop(bytes.drain(piece)),
        6 => {
            let copy = bytes.get(piece).unwrap_or_default().to_vec();
            bytes.splice(at..at, copy);
        }
        _ if random.next().is_multiple_of(4) => bytes.truncate(at),
        _ => {
            let byte = telling(random);
            bytes.iter_mut().skip(at).take(piece.len()).for_each(|target| *target = byte);
        }
    }
}

fn telling(random: &mut Random) -> u8 {
    TELLING.get(below(random, TELLING.len())).copied().unwrap_or_default()
}

fn below(random: &mut Random, end: usize) -> usize {
    let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
    usize::try_from(random.next() % end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_damages_alike_and_seeds_differ() {
        let damaged = |seed| {
            let mut bytes: Vec<u8> = (0..200).collect();
            damage(&mut bytes, seed);
            bytes
        };
        assert_eq!(damaged(1), damaged(1));
        let unlike = (0..1_000).filter(|seed| damaged(*seed) != damaged(seed + 1)).count();
        assert!(unlike > 990, "{unlike}");
        let mut none = Vec::new();
        (0..1_000).for_each(|seed| damage(&mut none, seed));
    }
}
