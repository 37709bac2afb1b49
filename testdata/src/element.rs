//! Writes data elements (PS3.5 §7.1) in the two little endian encodings without compression.

/// Whether value representations are written (PS3.5 §7.1.2 and §7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Explicit VR.
    Explicit,
    /// Implicit VR.
    Implicit,
}

/// A data set that is being written; elements must come in ascending order of tags.
#[derive(Debug)]
pub(crate) struct Elements {
    form: Form,
    bytes: Vec<u8>,
}

impl Elements {
    /// Returns an empty data set.
    pub(crate) fn new(form: Form) -> Self {
        Self { form, bytes: Vec::new() }
    }

    /// Returns the bytes written so far.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes a text, padded with a space to even length.
    pub(crate) fn text(&mut self, tag: u32, vr: [u8; 2], value: &str) {
        self.padded(tag, vr, value.as_bytes(), b' ');
    }

    /// Writes text that is already encoded.
    pub(crate) fn encoded_text(&mut self, tag: u32, vr: [u8; 2], value: &[u8]) {
        self.padded(tag, vr, value, b' ');
    }

    /// Writes a unique identifier, padded with NUL to even length (PS3.5 §9.1).
    pub(crate) fn uid(&mut self, tag: u32, value: &str) {
        self.padded(tag, *b"UI", value.as_bytes(), 0);
    }

    /// Writes one unsigned short.
    pub(crate) fn us(&mut self, tag: u32, value: u16) {
        self.padded(tag, *b"US", &value.to_le_bytes(), 0);
    }

    /// Writes binary data, padded with NUL to even length.
    pub(crate) fn binary(&mut self, tag: u32, vr: [u8; 2], value: &[u8]) {
        self.padded(tag, vr, value, 0);
    }

    /// Writes a sequence with one item, both of defined length (PS3.5 §7.5).
    pub(crate) fn sequence(&mut self, tag: u32, item: Self) {
        let item = item.into_bytes();
        self.header(tag, *b"SQ", length(item.len()).saturating_add(8));
        self.item(&item);
    }

    /// Writes Pixel Data as fragments behind a Basic Offset Table (PS3.5 §A.4), one fragment a frame.
    pub(crate) fn fragments(&mut self, tag: u32, frames: &[Vec<u8>]) {
        self.header(tag, *b"OB", u32::MAX);
        let mut offsets = Vec::new();
        let mut offset = 0_u32;
        for frame in frames {
            offsets.extend_from_slice(&offset.to_le_bytes());
            offset = offset.saturating_add(length(frame.len()).saturating_add(8));
        }
        self.item(&offsets);
        for frame in frames {
            self.item(frame);
        }
        self.bytes.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]); // sequence delimiter
    }

    fn item(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        self.bytes.extend_from_slice(&length(value.len()).to_le_bytes());
        self.bytes.extend_from_slice(value);
    }

    fn padded(&mut self, tag: u32, vr: [u8; 2], value: &[u8], pad: u8) {
        let odd = !value.len().is_multiple_of(2);
        self.header(tag, vr, length(value.len() + usize::from(odd)));
        self.bytes.extend_from_slice(value);
        if odd {
            self.bytes.push(pad);
        }
    }

    fn header(&mut self, tag: u32, vr: [u8; 2], value_bytes: u32) {
        let [g1, g0, e1, e0] = tag.to_be_bytes();
        self.bytes.extend_from_slice(&[g0, g1, e0, e1]);
        match (self.form, &vr) {
            (Form::Implicit, _) => self.bytes.extend_from_slice(&value_bytes.to_le_bytes()),
            (Form::Explicit, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") => {
                self.bytes.extend_from_slice(&vr);
                self.bytes.extend_from_slice(&[0, 0]);
                self.bytes.extend_from_slice(&value_bytes.to_le_bytes());
            }
            (Form::Explicit, _) => {
                self.bytes.extend_from_slice(&vr);
                let short = u16::try_from(value_bytes).expect("values with a short length are a few words");
                self.bytes.extend_from_slice(&short.to_le_bytes());
            }
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a generated value is far below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explicit_and_implicit_headers() {
        let mut explicit = Elements::new(Form::Explicit);
        explicit.uid(0x0008_0016, "1.2.3");
        assert_eq!(explicit.into_bytes(), b"\x08\x00\x16\x00UI\x06\x001.2.3\0");
        let mut implicit = Elements::new(Form::Implicit);
        implicit.text(0x0008_0060, *b"CS", "CT");
        assert_eq!(implicit.into_bytes(), b"\x08\x00\x60\x00\x02\x00\x00\x00CT");
    }

    #[test]
    fn long_headers_and_a_sequence_of_one_item() {
        let mut item = Elements::new(Form::Explicit);
        item.text(0x0008_0100, *b"SH", "A");
        let mut outer = Elements::new(Form::Explicit);
        outer.sequence(0x0008_1032, item);
        assert_eq!(
            outer.into_bytes(),
            b"\x08\x00\x32\x10SQ\0\0\x12\0\0\0\xFE\xFF\x00\xE0\x0A\0\0\0\x08\0\0\x01SH\x02\0A "
        );
    }

    #[test]
    fn fragments_with_their_offsets() {
        let mut elements = Elements::new(Form::Explicit);
        elements.fragments(0x7FE0_0010, &[vec![1, 2], vec![3, 4]]);
        let bytes = elements.into_bytes();
        assert_eq!(&bytes[8..12], &[0xFF; 4]);
        assert_eq!(&bytes[16..28], &[8, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0], "BOT: 0 and 8 + 2");
        assert_eq!(&bytes[bytes.len() - 8..], &[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    }
}
