//! Command sets (PS3.7 §6.3 and Annex E): always Implicit VR Little Endian, group 0000 only.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::status::Status;

/// Longest command set we read. Real ones have some 200 bytes; (0000,0902) may add some.
pub(crate) const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// Longest Error Comment (0000,0902) (PS3.7 §C).
const ERROR_COMMENT_CHARS_MAX: usize = 64;
/// Value of (0000,0800) that says that no data set follows.
const NO_DATA_SET: u16 = 0x0101;
/// Bit of (0000,0100) that makes a response.
const RESPONSE: u16 = 0x8000;

/// Element numbers of group 0000.
pub mod element {
    /// Command Group Length.
    pub const GROUP_LENGTH: u16 = 0x0000;
    /// Affected SOP Class UID.
    pub const AFFECTED_SOP_CLASS_UID: u16 = 0x0002;
    /// Requested SOP Class UID.
    pub const REQUESTED_SOP_CLASS_UID: u16 = 0x0003;
    /// Command Field.
    pub const COMMAND_FIELD: u16 = 0x0100;
    /// Message ID.
    pub const MESSAGE_ID: u16 = 0x0110;
    /// Message ID Being Responded To.
    pub const MESSAGE_ID_RESPONDED_TO: u16 = 0x0120;
    /// Move Destination.
    pub const MOVE_DESTINATION: u16 = 0x0600;
    /// Priority.
    pub const PRIORITY: u16 = 0x0700;
    /// Command Data Set Type.
    pub const DATA_SET_TYPE: u16 = 0x0800;
    /// Status.
    pub const STATUS: u16 = 0x0900;
    /// Error Comment.
    pub const ERROR_COMMENT: u16 = 0x0902;
    /// Affected SOP Instance UID.
    pub const AFFECTED_SOP_INSTANCE_UID: u16 = 0x1000;
    /// Number of Remaining Sub-operations.
    pub const REMAINING: u16 = 0x1020;
    /// Number of Completed Sub-operations.
    pub const COMPLETED: u16 = 0x1021;
    /// Number of Failed Sub-operations.
    pub const FAILED: u16 = 0x1022;
    /// Number of Warning Sub-operations.
    pub const WARNING: u16 = 0x1023;
    /// Move Originator Application Entity Title.
    pub const MOVE_ORIGINATOR_AE: u16 = 0x1030;
    /// Move Originator Message ID.
    pub const MOVE_ORIGINATOR_MESSAGE_ID: u16 = 0x1031;
}

/// What a message is (PS3.7 §E.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandField {
    /// C-STORE-RQ.
    StoreRequest,
    /// C-GET-RQ.
    GetRequest,
    /// C-FIND-RQ.
    FindRequest,
    /// C-MOVE-RQ.
    MoveRequest,
    /// C-ECHO-RQ.
    EchoRequest,
    /// C-CANCEL-RQ.
    Cancel,
    /// Any response.
    Response,
    /// A request of a service we do not offer.
    Other,
}

/// Says why bytes are no command set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read command set: {0}")]
pub struct InvalidCommand(&'static str);

/// A command set: the elements of group 0000, without the group length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSet(BTreeMap<u16, Bytes>);

impl CommandSet {
    /// Returns a request; the data set type says that no data set follows.
    pub fn request(field: u16, message_id: u16, sop_class_uid: &str) -> Self {
        Self::default()
            .with_uid(element::AFFECTED_SOP_CLASS_UID, sop_class_uid)
            .with_u16(element::COMMAND_FIELD, field)
            .with_u16(element::MESSAGE_ID, message_id)
            .with_u16(element::DATA_SET_TYPE, NO_DATA_SET)
    }

    /// Returns a C-CANCEL-RQ (PS3.7 §9.3.2.3): no SOP class, no message ID of its own.
    pub fn cancel(message_id: u16) -> Self {
        Self::default()
            .with_u16(element::COMMAND_FIELD, 0x0FFF)
            .with_u16(element::MESSAGE_ID_RESPONDED_TO, message_id)
            .with_u16(element::DATA_SET_TYPE, NO_DATA_SET)
    }

    /// Returns the response to this request, with its SOP class and instance echoed.
    #[must_use]
    pub fn response(&self, status: Status) -> Self {
        let mut response = Self::default()
            .with_u16(element::COMMAND_FIELD, self.field_code() | RESPONSE)
            .with_u16(element::MESSAGE_ID_RESPONDED_TO, self.message_id().unwrap_or(0))
            .with_u16(element::DATA_SET_TYPE, NO_DATA_SET)
            .with_u16(element::STATUS, status.0);
        for (from, to) in [
            (element::AFFECTED_SOP_CLASS_UID, element::AFFECTED_SOP_CLASS_UID),
            (element::REQUESTED_SOP_CLASS_UID, element::AFFECTED_SOP_CLASS_UID),
            (element::AFFECTED_SOP_INSTANCE_UID, element::AFFECTED_SOP_INSTANCE_UID),
        ] {
            if let Some(value) = self.0.get(&from) {
                response.0.insert(to, value.clone());
            }
        }
        response
    }

    /// Sets a number.
    #[must_use]
    pub fn with_u16(mut self, element: u16, value: u16) -> Self {
        self.0.insert(element, Bytes::copy_from_slice(&value.to_le_bytes()));
        self
    }

    /// Sets a UID.
    #[must_use]
    pub fn with_uid(mut self, element: u16, uid: &str) -> Self {
        self.0.insert(element, padded(uid, 0));
        self
    }

    /// Sets a text, such as an AE title.
    #[must_use]
    pub fn with_text(mut self, element: u16, text: &str) -> Self {
        self.0.insert(element, padded(text, b' '));
        self
    }

    /// Sets the Error Comment, cut to 64 characters. It must not say anything about a patient.
    #[must_use]
    pub fn with_comment(self, comment: &str) -> Self {
        let comment: String = comment.chars().take(ERROR_COMMENT_CHARS_MAX).collect();
        self.with_text(element::ERROR_COMMENT, &comment)
    }

    /// Says that a data set follows.
    #[must_use]
    pub fn with_data_set(self) -> Self {
        self.with_u16(element::DATA_SET_TYPE, 0x0001)
    }

    /// Returns a number, `None` when absent or of another length.
    pub fn number(&self, element: u16) -> Option<u16> {
        let &[low, high] = self.0.get(&element)?.first_chunk::<2>()?;
        Some(u16::from_le_bytes([low, high]))
    }

    /// Returns a text without padding, `None` when absent, empty or not ASCII.
    pub fn text(&self, element: u16) -> Option<&str> {
        let text = std::str::from_utf8(self.0.get(&element)?).ok()?;
        let text = text.trim_matches(['\0', ' ']);
        (!text.is_empty() && text.is_ascii()).then_some(text)
    }

    /// Returns what the message is.
    pub fn field(&self) -> CommandField {
        match self.field_code() {
            0x0001 => CommandField::StoreRequest,
            0x0010 => CommandField::GetRequest,
            0x0020 => CommandField::FindRequest,
            0x0021 => CommandField::MoveRequest,
            0x0030 => CommandField::EchoRequest,
            0x0FFF => CommandField::Cancel,
            code if code & RESPONSE != 0 => CommandField::Response,
            _ => CommandField::Other,
        }
    }

    /// Returns the Message ID (0000,0110).
    pub fn message_id(&self) -> Option<u16> {
        self.number(element::MESSAGE_ID)
    }

    /// Returns the Message ID Being Responded To (0000,0120).
    pub fn responded_to(&self) -> Option<u16> {
        self.number(element::MESSAGE_ID_RESPONDED_TO)
    }

    /// Returns the status; an absent one is a failure.
    pub fn status(&self) -> Status {
        self.number(element::STATUS).map_or(Status::PROCESSING_FAILURE, Status)
    }

    /// Returns the affected or requested SOP class.
    pub fn sop_class_uid(&self) -> Option<&str> {
        self.text(element::AFFECTED_SOP_CLASS_UID).or_else(|| self.text(element::REQUESTED_SOP_CLASS_UID))
    }

    /// Tells whether a data set follows: any value but 0101H says so.
    pub fn has_data_set(&self) -> bool {
        self.number(element::DATA_SET_TYPE).is_some_and(|kind| kind != NO_DATA_SET)
    }

    /// Returns the bytes, with the group length in front.
    pub fn encode(&self) -> Bytes {
        let body_bytes: usize = self.0.values().map(|value| 8 + value.len()).sum();
        let mut out = BytesMut::with_capacity(12 + body_bytes);
        put_header(&mut out, element::GROUP_LENGTH, 4);
        out.put_u32_le(u32::try_from(body_bytes).unwrap_or(u32::MAX));
        for (element, value) in &self.0 {
            put_header(&mut out, *element, value.len());
            out.put_slice(value);
        }
        out.freeze()
    }

    /// Reads a command set. The group length and elements of other groups are not used.
    pub fn decode(bytes: &Bytes) -> Result<Self, InvalidCommand> {
        let mut elements = BTreeMap::new();
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let Some(&[group_low, group, low, high, length @ ..]) = rest.first_chunk::<8>() else {
                return Err(InvalidCommand("an element's header is cut off"));
            };
            let group = u16::from_le_bytes([group_low, group]);
            let number = u16::from_le_bytes([low, high]);
            let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
            let mut value = rest.split_off(8);
            if length > value.len() {
                return Err(InvalidCommand("an element is longer than the command set"));
            }
            rest = value.split_off(length);
            if group == 0 && number != element::GROUP_LENGTH {
                elements.insert(number, value);
            }
        }
        let command = Self(elements);
        if command.number(element::COMMAND_FIELD).is_none() {
            return Err(InvalidCommand("(0000,0100) is absent"));
        }
        if command.number(element::DATA_SET_TYPE).is_none() {
            return Err(InvalidCommand("(0000,0800) is absent"));
        }
        Ok(command)
    }

    fn field_code(&self) -> u16 {
        self.number(element::COMMAND_FIELD).unwrap_or(0)
    }
}

fn put_header(out: &mut BytesMut, element: u16, length: usize) {
    out.put_u16_le(0);
    out.put_u16_le(element);
    out.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
}

fn padded(text: &str, pad: u8) -> Bytes {
    let mut value = BytesMut::with_capacity(text.len() + 1);
    value.put_slice(text.as_bytes());
    if value.len() % 2 == 1 {
        value.put_u8(pad);
    }
    value.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VERIFICATION: &str = "1.2.840.10008.1.1";

    #[test]
    fn an_echo_request_is_what_the_standard_says() {
        // DI-001, DI-004
        let bytes = CommandSet::request(0x0030, 7, VERIFICATION).encode();
        let mut expected = vec![0, 0, 0, 0, 4, 0, 0, 0, 56, 0, 0, 0];
        expected.extend([0, 0, 2, 0, 18, 0, 0, 0]);
        expected.extend(b"1.2.840.10008.1.1\0");
        expected.extend([0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0]);
        expected.extend([0, 0, 0x10, 1, 2, 0, 0, 0, 7, 0]);
        expected.extend([0, 0, 0, 8, 2, 0, 0, 0, 1, 1]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_response_echoes_and_its_group_length_is_right() {
        // DI-004, DI-005
        let request = CommandSet::request(0x0001, 513, "1.2.3")
            .with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.2.3.4")
            .with_data_set();
        assert!(request.has_data_set());
        let response = CommandSet::decode(&request.response(Status::SUCCESS).encode()).unwrap();
        assert_eq!(response.field(), CommandField::Response);
        assert_eq!(response.responded_to(), Some(513));
        assert_eq!(response.sop_class_uid(), Some("1.2.3"));
        assert_eq!(response.text(element::AFFECTED_SOP_INSTANCE_UID), Some("1.2.3.4"));
        assert_eq!(response.status(), Status::SUCCESS);
        assert!(!response.has_data_set());
    }

    #[test]
    fn a_wrong_group_length_is_not_trusted_and_0800_other_than_0101_means_data() {
        // DI-001, DI-003
        let mut bytes = CommandSet::request(0x0020, 1, "1.2").with_u16(element::DATA_SET_TYPE, 0).encode().to_vec();
        bytes[8] = 0xFF;
        assert!(CommandSet::decode(&bytes.into()).unwrap().has_data_set());
    }

    #[test]
    fn what_cannot_be_dispatched_is_refused() {
        // DI-015
        let no_type = CommandSet::default().with_u16(element::COMMAND_FIELD, 0x30);
        let no_field = CommandSet::default().with_u16(element::DATA_SET_TYPE, 0x0101);
        for bytes in [no_type.encode(), no_field.encode(), Bytes::new(), Bytes::from_static(&[0; 7])] {
            assert!(CommandSet::decode(&bytes).is_err());
        }
    }

    #[test]
    fn comments_are_cut_to_64_characters() {
        // DI-013
        let command = CommandSet::default().with_comment(&"x".repeat(99));
        assert_eq!(command.text(element::ERROR_COMMENT).unwrap().len(), 64);
    }

    proptest! {
        /// DI-015: mutated command sets give an error or a command set, never a panic.
        #[test]
        fn mutated_command_sets_do_not_panic(
            flips in proptest::collection::vec((0_usize..96, any::<u8>()), 0..6),
            cut in 0_usize..97,
        ) {
            let mut bytes = CommandSet::request(0x0001, 1, VERIFICATION)
                .with_uid(element::AFFECTED_SOP_INSTANCE_UID, "1.2.3.4.5")
                .encode()
                .to_vec();
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(cut);
            if let Ok(command) = CommandSet::decode(&bytes.into()) {
                let response = command.response(Status::CANNOT_UNDERSTAND).encode();
                prop_assert!(CommandSet::decode(&response).is_ok());
            }
        }
    }
}
