//! Little-endian fields and variable-length numbers, written and read without trust in any length.

/// Reads fields one after another; every method returns `None` when the bytes end early.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(head)
    }

    /// Takes a fixed number of bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    /// Takes one byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// Takes two bytes.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes four bytes.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes eight bytes.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a LEB128 number of at most 128 bits.
    pub(crate) fn varint(&mut self) -> Option<u128> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.u8()?;
            let bits = u128::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None; // more than 128 bits
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Takes a number that must fit the type asked for.
    pub(crate) fn number<T: TryFrom<u128>>(&mut self) -> Option<T> {
        T::try_from(self.varint()?).ok()
    }

    /// Takes a length and that many bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let bytes = self.number()?;
        self.take(bytes)
    }

    /// Takes a length and that many bytes of UTF-8.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Returns the bytes not taken yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Appends a LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, u128::try_from(bytes.len()).expect("a usize has at most 64 bits"));
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_round_trip(value: u128, shift in 0_u32..128) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Some(value));
            prop_assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn a_varint_of_more_than_128_bits_is_refused() {
        let mut long = [0xff; 19];
        long[18] = 0x03;
        assert_eq!(Reader::new(&long).varint(), Some(u128::MAX));
        long[18] = 0x07;
        assert_eq!(Reader::new(&long).varint(), None);
        assert_eq!(Reader::new(&[0x80; 30]).varint(), None);
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Reader::new(&[3, b'a', b'b']).bytes(), None);
    }
}
