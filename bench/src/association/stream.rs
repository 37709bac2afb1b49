//! What does not fit in memory, or must not: instances sent as they are read, matches read as slowly as wanted; and
//! C-ECHO (PS3.7 §9.1.5, §9.3.5; PS3.4 §C.4.1).

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::{Association, Kind, command_value, read_pdu, store_command};
use crate::process::pause;

/// Verification.
pub const ECHO: Kind = ("1.2.840.10008.1.1", "1.2.840.10008.1.2");
/// Study Root Query/Retrieve Information Model - FIND.
pub const FIND: Kind = ("1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.2");
/// Status of a match that is followed by others, without and with keys that were not matched.
const PENDING: [u16; 2] = [0xFF00, 0xFF01];

impl Association {
    /// Sets how long the peer may take to answer or to read.
    pub fn wait_at_most(&mut self, wait: Duration) -> anyhow::Result<()> {
        self.stream.set_read_timeout(Some(wait)).context("set up the connection")?;
        self.stream.set_write_timeout(Some(wait)).context("set up the connection")
    }

    /// Sends one instance as it is read, holding one PDU at a time, and returns the status of the answer.
    pub fn store_from(
        &mut self,
        kind: Kind,
        sop_instance_uid: &str,
        bytes: u64,
        data_set: &mut dyn Read,
    ) -> anyhow::Result<u16> {
        let context = self.context(kind)?;
        let command = store_command(self.message_id, kind.0, sop_instance_uid);
        let mut message = Vec::with_capacity(self.pdu_bytes + 6);
        self.fragment(&mut message, context, 1, &command);
        self.stream.write_all(&message).context("send C-STORE-RQ")?;
        let (longest, mut left) = (u64::try_from(self.pdu_bytes - 6)?, bytes);
        while left > 0 {
            let chunk = longest.min(left);
            left -= chunk;
            let item = u32::try_from(chunk + 2)?;
            message.clear();
            message.extend_from_slice(&[4, 0]);
            message.extend_from_slice(&(item + 4).to_be_bytes());
            message.extend_from_slice(&item.to_be_bytes());
            message.extend_from_slice(&[context, if left == 0 { 2 } else { 0 }]);
            let read = data_set.take(chunk).read_to_end(&mut message).context("read the data set")?;
            ensure!(u64::try_from(read)? == chunk, "the data set ends early");
            self.stream.write_all(&message).context("send a data set")?;
        }
        self.read_status()
    }

    /// Asks whether the peer is there.
    pub fn echo(&mut self) -> anyhow::Result<()> {
        let context = self.context(ECHO)?;
        let command = command(&[(0x0002, ECHO.0.as_bytes()), (0x0100, &[0x30, 0]), (0x0800, &[1, 1])], self.message_id);
        let mut message = Vec::new();
        self.fragment(&mut message, context, 1, &command);
        self.stream.write_all(&message).context("send C-ECHO-RQ")?;
        let status = self.read_status()?;
        ensure!(status == 0, "C-ECHO was answered by {status:04X}");
        Ok(())
    }

    /// Asks for all studies, rests after each match, and returns how many there were.
    pub fn find_studies(&mut self, rest: Duration) -> anyhow::Result<u64> {
        let context = self.context(FIND)?;
        let command = command(&[(0x0002, FIND.0.as_bytes()), (0x0100, &[0x20, 0]), (0x0800, &[0, 0])], self.message_id);
        let mut identifier = element((0x0008, 0x0052), b"STUDY ");
        for key in [(0x0010, 0x0010), (0x0010, 0x0020), (0x0020, 0x000D)] {
            identifier.extend_from_slice(&element(key, b""));
        }
        let mut message = Vec::new();
        self.fragment(&mut message, context, 1, &command);
        self.fragment(&mut message, context, 0, &identifier);
        self.stream.write_all(&message).context("send C-FIND-RQ")?;
        let mut matches = 0;
        loop {
            let answer = self.read_message().context("read C-FIND-RSP")?;
            let status = command_value(&answer, 0x0900).context("C-FIND-RSP has no status")?;
            if !PENDING.contains(&status) {
                ensure!(status == 0, "C-FIND was answered by {status:04X}");
                return Ok(matches);
            }
            self.read_message().context("read a match")?;
            matches += 1;
            pause(rest);
        }
    }

    /// Begins an operation: returns its context.
    fn context(&mut self, kind: Kind) -> anyhow::Result<u8> {
        let context = self.contexts.iter().find(|(_, known)| *known == kind);
        let (context, _) = *context.with_context(|| format!("the peer did not accept {kind:?}"))?;
        self.message_id = self.message_id.wrapping_add(1);
        Ok(context)
    }

    /// Reads the fragments of one command set or data set.
    fn read_message(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let (kind, body) = read_pdu(&mut self.stream)?;
            ensure!(kind == 4, "the operation was answered by PDU type {kind:02x}");
            let control = body.get(5).copied().context("the PDU is too short")?;
            message.extend_from_slice(body.get(6..).unwrap_or_default());
            if control & 2 != 0 {
                return Ok(message);
            }
        }
    }
}

/// Writes a command set (implicit VR little endian) of medium priority; elements of group 0 in order of number.
fn command(elements: &[(u16, &[u8])], message_id: u16) -> Vec<u8> {
    let (before, after) = elements.split_at(elements.partition_point(|(number, _)| *number < 0x0110));
    let own: [(u16, &[u8]); 2] = [(0x0110, &message_id.to_le_bytes()), (0x0700, &[0, 0])];
    let all = before.iter().chain(&own).chain(after);
    let rest: Vec<u8> = all.flat_map(|(number, value)| element((0, *number), value)).collect();
    let length = u32::try_from(rest.len()).expect("a command is short");
    [element((0, 0), &length.to_le_bytes()), rest].concat()
}

/// Writes an element, implicit VR little endian. UIDs are padded with a null character.
fn element((group, number): (u16, u16), value: &[u8]) -> Vec<u8> {
    let padded = value.len().next_multiple_of(2);
    let mut out = [group.to_le_bytes(), number.to_le_bytes()].concat();
    out.extend_from_slice(&u32::try_from(padded).expect("values are short").to_le_bytes());
    out.extend_from_slice(value);
    out.resize(8 + padded, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_back() {
        let command = command(&[(0x0002, b"1.2.3"), (0x0100, &[0x30, 0]), (0x0800, &[1, 1])], 7);
        assert_eq!(command_value(&command, 0x0100), Some(0x30));
        assert_eq!(command_value(&command, 0x0110), Some(7));
        assert_eq!(command_value(&command, 0x0800), Some(0x0101));
        assert_eq!(usize::from(command_value(&command, 0).unwrap()), command.len() - 12);
    }
}
