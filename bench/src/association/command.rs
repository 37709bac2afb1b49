//! Command sets, implicit VR little endian (PS3.7 §6.3.1).

use std::fmt::Write as _;

use super::kind::Kind;

/// Writes a command set, element by element in the order of their numbers.
#[derive(Debug, Default)]
pub struct Builder(Vec<u8>);

/// A command set that was received.
#[derive(Debug, Clone, Default)]
pub struct Command(pub(super) Vec<u8>);

/// Writes C-STORE-RQ.
pub(super) fn store(kind: Kind, sop_instance_uid: &str, message_id: u16) -> Vec<u8> {
    let command = Builder::default().uid(0x0002, kind.0).us(0x0100, 0x0001).us(0x0110, message_id);
    command.us(0x0700, 0).us(0x0800, 1).uid(0x1000, sop_instance_uid).build()
}

impl Builder {
    /// Adds an element of type US.
    #[must_use]
    pub fn us(self, number: u16, value: u16) -> Self {
        self.value(number, &value.to_le_bytes(), 0)
    }

    /// Adds a UID.
    #[must_use]
    pub fn uid(self, number: u16, value: &str) -> Self {
        self.value(number, value.as_bytes(), 0)
    }

    /// Adds an application entity title.
    #[must_use]
    pub fn ae(self, number: u16, value: &str) -> Self {
        self.value(number, value.as_bytes(), b' ')
    }

    /// Puts the group length in front.
    pub fn build(self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("a command is short");
        let mut command = vec![0, 0, 0, 0, 4, 0, 0, 0];
        command.extend_from_slice(&length.to_le_bytes());
        command.extend_from_slice(&self.0);
        command
    }

    fn value(mut self, number: u16, value: &[u8], padding: u8) -> Self {
        let padded = value.len().next_multiple_of(2);
        let length = u32::try_from(padded).expect("values of a command are short");
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&number.to_le_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len() + padded - value.len(), padding);
        self
    }
}

impl Command {
    /// Returns a value of type US.
    pub fn us(&self, number: u16) -> Option<u16> {
        self.value(number)?.first_chunk().map(|value| u16::from_le_bytes(*value))
    }

    /// Returns a value that is text, without its padding.
    pub fn text(&self, number: u16) -> Option<&str> {
        std::str::from_utf8(self.value(number)?).ok().map(|text| text.trim_end_matches(['\0', ' ']))
    }

    /// Tells whether a data set follows (PS3.7 §9.3: Command Data Set Type).
    pub fn has_data_set(&self) -> bool {
        self.us(0x0800).is_some_and(|kind| kind != 0x0101)
    }

    /// Writes the elements for a message about a surprise.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for number in [0x0100, 0x0120, 0x0900, 0x1020, 0x1021, 0x1022, 0x1023] {
            if let Some(value) = self.us(number) {
                write!(text, "(0000,{number:04X})={value:04X} ").expect("a string takes everything");
            }
        }
        text.push_str(self.text(0x0902).unwrap_or_default());
        text
    }

    fn value(&self, number: u16) -> Option<&[u8]> {
        let mut rest = self.0.as_slice();
        loop {
            let ([_, _, e0, e1, l0, l1, l2, l3], after) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).ok()?;
            let (value, after) = after.split_at_checked(length)?;
            if u16::from_le_bytes([*e0, *e1]) == number {
                return Some(value);
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_back() {
        let bytes = Builder::default().uid(0x0002, "1.2").us(0x0110, 7).ae(0x0600, "SINK1").build();
        let command = Command(bytes.clone());
        assert_eq!((command.us(0x0110), command.us(0x0900)), (Some(7), None));
        assert_eq!((command.text(0x0002), command.text(0x0600)), (Some("1.2"), Some("SINK1")));
        assert_eq!(usize::from(command.us(0).unwrap()), bytes.len() - 12);
        assert!(!command.has_data_set());
        assert_eq!(Command(bytes[..20].to_vec()).us(0x0110), None);
    }
}
