//! What does not fit in memory, or must not: instances sent as they are read, matches read as slowly as wanted; and
//! C-ECHO (PS3.7 §9.1.5, §9.3.5; PS3.4 §C.4.1).

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::Association;
use super::command::{self, Builder};
use super::kind::{ECHO, FIND, Kind};
use super::pdu::header;
use crate::process::pause;

/// Status of a match that is followed by others, without and with keys that were not matched.
const PENDING: [u16; 2] = [0xFF00, 0xFF01];

impl Association {
    /// Sets how long the peer may take to answer or to read.
    pub fn wait_at_most(&mut self, wait: Duration) -> anyhow::Result<()> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(wait)).context("set up the connection")?;
        stream.set_write_timeout(Some(wait)).context("set up the connection")
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
        let message_id = self.next_message_id();
        self.send(context, &command::store(kind, sop_instance_uid, message_id), [&[], &[]])
            .context("send C-STORE-RQ")?;
        let (longest, mut left) = (u64::try_from(self.pdu_bytes - 6)?, bytes);
        let mut pdu = Vec::with_capacity(self.pdu_bytes + 6);
        while left > 0 {
            let fragment = longest.min(left);
            left -= fragment;
            pdu.clear();
            pdu.extend_from_slice(&header(usize::try_from(fragment)?, context, if left == 0 { 2 } else { 0 }));
            let read = data_set.take(fragment).read_to_end(&mut pdu).context("read the data set")?;
            ensure!(u64::try_from(read)? == fragment, "the data set ends early");
            self.stream.get_mut().write_all(&pdu).context("send a data set")?;
        }
        self.store_status(message_id)
    }

    /// Asks whether the peer is there.
    pub fn echo(&mut self) -> anyhow::Result<()> {
        let context = self.context(ECHO)?;
        let message_id = self.next_message_id();
        let command =
            Builder::default().uid(0x0002, ECHO.0).us(0x0100, 0x0030).us(0x0110, message_id).us(0x0800, 0x0101);
        self.send(context, &command.build(), [&[], &[]]).context("send C-ECHO-RQ")?;
        let answer = self.receive().context("read C-ECHO-RSP")?.context("released instead of C-ECHO-RSP")?.command;
        ensure!(answer.us(0x0900) == Some(0), "C-ECHO was answered by {}", answer.describe());
        Ok(())
    }

    /// Asks for all studies, rests after each match, and returns how many there were.
    pub fn find_studies(&mut self, rest: Duration) -> anyhow::Result<u64> {
        let context = self.context(FIND)?;
        let message_id = self.next_message_id();
        let command = Builder::default().uid(0x0002, FIND.0).us(0x0100, 0x0020).us(0x0110, message_id);
        let mut identifier = element((0x0008, 0x0052), b"STUDY ");
        for key in [(0x0010, 0x0010), (0x0010, 0x0020), (0x0020, 0x000D)] {
            identifier.extend_from_slice(&element(key, b""));
        }
        let command = command.us(0x0700, 0).us(0x0800, 1).build();
        self.send(context, &command, [&identifier, &[]]).context("send C-FIND-RQ")?;
        let mut matches = 0;
        loop {
            let answer = self.receive().context("read C-FIND-RSP")?.context("released instead of C-FIND-RSP")?.command;
            let status = answer.us(0x0900).context("C-FIND-RSP has no status")?;
            if !PENDING.contains(&status) {
                ensure!(status == 0, "C-FIND was answered by {}", answer.describe());
                return Ok(matches);
            }
            matches += 1;
            pause(rest);
        }
    }
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
