//! Pixels that behave like a CT slice: smooth regions, sharp edges, noise in the low bits.

use crate::random::Random;

/// Side of the square the phantom is drawn on; real rows and columns are scaled to it.
const SIDE: i64 = 1024;
/// Value of air, as CT stores it with an intercept of -1024.
const AIR: u16 = 24;

/// Draws one slice as 16-bit little endian words, 12 bits used. `position` (0 to 1023) says how far along the
/// body the slice lies.
pub(crate) fn slice(rows: u16, columns: u16, position: u16, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed, u64::from(position) + 1);
    let mut bytes = Vec::with_capacity(usize::from(rows) * usize::from(columns) * 2);
    let mut noise = 0_u64;
    for row in 0..rows {
        let y = scaled(row, rows);
        for column in 0..columns {
            if noise < 16 {
                noise = random.next() | (1 << 63);
            }
            let grain = u16::try_from(noise % 16).expect("below 16");
            noise /= 16;
            let value = tissue(scaled(column, columns), y, i64::from(position)) + grain;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
    bytes
}

/// Returns the pixel's distance from the middle, in 1/1024 of the picture.
fn scaled(pixel: u16, pixels: u16) -> i64 {
    i64::from(pixel) * SIDE / i64::from(pixels.max(1)) - SIDE / 2
}

/// Body, spine, two lungs whose size depends on the position.
fn tissue(x: i64, y: i64, position: i64) -> u16 {
    if !inside(x, y, 430, 330) {
        return AIR;
    }
    let lung = 90 + position / 12;
    if inside(x - 190, y + 20, lung, lung + 60) || inside(x + 190, y + 20, lung, lung + 60) {
        return 180;
    }
    if inside(x, y - 220, 55, 60) {
        return 1900;
    }
    let gradient = u16::try_from((x + SIDE) / 32).expect("x is within half a side");
    1030 + gradient
}

fn inside(x: i64, y: i64, half_width: i64, half_height: i64) -> bool {
    let (w, h) = (half_width * half_width, half_height * half_height);
    x * x * h + y * y * w <= w * h
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_repeat_and_stay_within_twelve_bits() {
        let first = slice(64, 48, 100, 1);
        assert_eq!(first.len(), 64 * 48 * 2);
        assert_eq!(first, slice(64, 48, 100, 1));
        assert_ne!(first, slice(64, 48, 101, 1));
        let words: Vec<u16> = first.chunks_exact(2).map(|w| u16::from_le_bytes([w[0], w[1]])).collect();
        assert!(words.iter().all(|w| *w < 4096));
        assert!(words.iter().any(|w| *w > 1900) && words.iter().any(|w| *w < 40));
    }
}
