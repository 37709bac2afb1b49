//! An established association: messages in, messages out (PS3.7 §6.3, PS3.8 §9).

mod link;
mod requestor;

use archive::InstanceBody;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

pub(crate) use link::Link;
pub(crate) use requestor::connect;

use crate::command::{COMMAND_BYTES_MAX, CommandField, CommandSet};
use crate::end::End;
use crate::negotiation::{Context, Contexts};
use crate::options::Timeouts;
use crate::pdu::{AbortReason, Event, Fragment, Fragmenter, RELEASE_REPLY, RELEASE_REQUEST};

/// Bytes of a body that are gathered before they are written. An instance that fits is read whole
/// before its command is sent, so that a read error costs one sub-operation and no association.
const GATHER_BYTES_MAX: u64 = 4 << 20;

/// What the peer wants next.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A command set in the context with this ID; its data set, if any, follows.
    Command(u8, CommandSet),
    /// A-RELEASE-RQ.
    Release,
}

/// Why a body was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Nothing was sent yet; the association is as before.
    Unreadable(archive::Error),
    /// The association is over.
    Ended(End),
}

impl From<End> for SendError {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

/// An established association, from either side.
#[derive(Debug)]
pub(crate) struct Association {
    link: Link,
    contexts: Contexts,
    peer_pdu_bytes_max: u32,
    /// The command set that is arriving, and its context.
    command: Option<(u8, BytesMut)>,
    /// Context of the data set that is arriving.
    data: Option<u8>,
    /// What came while something else was looked for.
    held: Option<Incoming>,
    /// The held message has the ID of the one that was being served.
    held_is_duplicate: bool,
    /// So had the current one.
    duplicate: bool,
}

impl Association {
    pub(crate) fn new(link: Link, contexts: Contexts, peer_pdu_bytes_max: u32) -> Self {
        Self {
            link,
            contexts,
            peer_pdu_bytes_max,
            command: None,
            data: None,
            held: None,
            held_is_duplicate: false,
            duplicate: false,
        }
    }

    /// Returns the accepted contexts.
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Returns the context that a command came in.
    pub(crate) fn context(&self, id: u8) -> Result<&Context, End> {
        self.contexts.by_id(id).ok_or(End::Violation(AbortReason::InvalidParameter))
    }

    /// Returns how long to wait for what.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        self.link.timeouts()
    }

    /// Waits for the next command or release. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Incoming, End> {
        self.duplicate = std::mem::take(&mut self.held_is_duplicate);
        if let Some(held) = self.held.take() {
            return Ok(self.handed_on(held));
        }
        loop {
            let idle = self.link.timeouts().idle;
            let event = self.link.next(Some(idle), "next message").await?;
            if let Some(incoming) = self.assemble(event)? {
                return Ok(self.handed_on(incoming));
            }
        }
    }

    /// Tells whether the current command came with the message ID of another that was still being served.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.duplicate
    }

    /// Waits for the response to a message of ours; holds back nothing, so what else comes is an
    /// error of the peer, except C-CANCEL, which is handed to `cancelled`.
    pub(crate) async fn response(
        &mut self,
        message_id: u16,
        mut cancelled: impl FnMut(u16),
    ) -> Result<CommandSet, End> {
        loop {
            let wait = self.link.timeouts().dimse_response;
            let event = self.link.next(Some(wait), "response").await?;
            match self.assemble(event)? {
                None => {}
                Some(Incoming::Command(context_id, command)) => match command.field() {
                    CommandField::Response if command.responded_to() == Some(message_id) => {
                        self.data = command.has_data_set().then_some(context_id);
                        return Ok(command);
                    }
                    CommandField::Cancel => cancelled(command.responded_to().unwrap_or(0)),
                    CommandField::Response
                    | CommandField::StoreRequest
                    | CommandField::GetRequest
                    | CommandField::FindRequest
                    | CommandField::MoveRequest
                    | CommandField::EchoRequest
                    | CommandField::Other => return Err(End::Torn("another message came")),
                },
                Some(Incoming::Release) => return Err(End::Violation(AbortReason::UnexpectedPdu)),
            }
        }
    }

    /// Returns when the peer cancels this message (`Ok`) or the association ends; meant to run
    /// beside the work on that message. Other messages are held for later. Cancel safe.
    pub(crate) async fn cancelled(&mut self, message_id: u16) -> Result<(), End> {
        loop {
            if self.held.is_some() {
                // The peer does not keep to one operation at a time. What it sends more is read
                // when this operation is done.
                std::future::pending::<()>().await;
            }
            let event = self.link.next(None, "cancel").await?;
            match self.assemble(event)? {
                None => {}
                Some(Incoming::Command(_, command)) if command.field() == CommandField::Cancel => {
                    let ours = command.responded_to() == Some(message_id);
                    if ours {
                        return Ok(());
                    }
                }
                Some(incoming) => {
                    let again = |command: &CommandSet| command.message_id() == Some(message_id);
                    self.held_is_duplicate = matches!(&incoming, Incoming::Command(_, command) if again(command));
                    self.held = Some(incoming);
                }
            }
        }
    }

    /// Returns the next bytes of the current message's data set, `None` after the last.
    pub(crate) async fn next_data(&mut self) -> Result<Option<Bytes>, End> {
        while let Some(context_id) = self.data {
            let idle = self.link.timeouts().idle;
            let event = self.link.next(Some(idle), "rest of a message").await?;
            let Event::Fragment(fragment) = event else {
                return Err(end_of(&event));
            };
            if fragment.command || fragment.context_id != context_id {
                return Err(End::Violation(AbortReason::InvalidParameter));
            }
            if fragment.last {
                self.data = None;
            }
            if !fragment.data.is_empty() {
                return Ok(Some(fragment.data));
            }
        }
        Ok(None)
    }

    /// Reads the rest of the current message's data set and forgets it.
    pub(crate) async fn drain(&mut self) -> Result<(), End> {
        while self.next_data().await?.is_some() {}
        Ok(())
    }

    /// Reads the current message's data set whole; `None` when it has more than `bytes_max`.
    pub(crate) async fn read_data(&mut self, bytes_max: usize) -> Result<Option<Bytes>, End> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next_data().await? {
            if whole.len() + piece.len() > bytes_max {
                self.drain().await?;
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    /// Sends a command set that has no data set.
    pub(crate) async fn send(&mut self, context_id: u8, command: &CommandSet) -> Result<(), End> {
        let parts = self.command_parts(context_id, command);
        self.link.send(parts).await
    }

    /// Sends a command set and its data set in one write.
    pub(crate) async fn send_with_data(&mut self, context_id: u8, command: CommandSet, data: Bytes) -> Result<(), End> {
        let mut parts = self.command_parts(context_id, &command.with_data_set());
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let mut set = Fragmenter::new(context_id, false, self.peer_pdu_bytes_max, bytes);
        set.push(data, &mut parts).map_err(|_| End::Torn("data set is longer than announced"))?;
        self.link.send(parts).await
    }

    /// Sends a command set and a body of known length, in one write when it is short.
    ///
    /// A body that fails after its beginning was sent ends the association: the peer must never
    /// see a torso as a whole.
    pub(crate) async fn send_body(
        &mut self,
        context_id: u8,
        command: CommandSet,
        mut body: InstanceBody,
    ) -> Result<(), SendError> {
        let torn = |reason| SendError::Ended(End::Torn(reason));
        let mut parts = self.command_parts(context_id, &command.with_data_set());
        let mut set = Fragmenter::new(context_id, false, self.peer_pdu_bytes_max, body.bytes);
        let (mut gathered_bytes, mut begun) = (0, false);
        if body.bytes == 0 {
            set.push(Bytes::new(), &mut parts).map_err(|_| torn("empty body"))?;
        }
        while set.rest_bytes() > 0 {
            let chunk = match body.chunks.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) if !begun => return Err(SendError::Unreadable(error)),
                Some(Err(_)) => return Err(torn("instance became unreadable")),
                None if !begun => {
                    let what = "whole instance";
                    return Err(SendError::Unreadable(archive::Error::NotFound { what }));
                }
                None => return Err(torn("instance is shorter than announced")),
            };
            gathered_bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if set.push(chunk, &mut parts).is_err() {
                return Err(torn("instance is longer than announced"));
            }
            if gathered_bytes >= GATHER_BYTES_MAX && set.rest_bytes() > 0 {
                begun = true;
                gathered_bytes = 0;
                self.link.send(std::mem::take(&mut parts)).await?;
            }
        }
        Ok(self.link.send(parts).await?)
    }

    /// Answers A-RELEASE-RQ.
    pub(crate) async fn reply_to_release(&mut self) -> Result<(), End> {
        self.link.send(vec![Bytes::from_static(&RELEASE_REPLY)]).await
    }

    /// Releases as the requestor and closes.
    pub(crate) async fn release(mut self) -> Result<(), End> {
        self.link.send(vec![Bytes::from_static(&RELEASE_REQUEST)]).await?;
        loop {
            let wait = self.link.timeouts().release_reply;
            match self.link.next(Some(wait), "release reply").await? {
                Event::ReleaseReply => return Ok(()),
                // Both released at once: each answers the other (PS3.8 §7.2.2).
                Event::ReleaseRequest => self.reply_to_release().await?,
                Event::Fragment(_) => {}
                event @ (Event::Abort(_)
                | Event::AssociateRequest(_)
                | Event::AssociateAccept(_)
                | Event::AssociateReject(_)) => return Err(end_of(&event)),
            }
        }
    }

    /// Ends the association the way `end` says and returns the link to wait on for the close.
    pub(crate) async fn finish(mut self, end: &End) -> Link {
        if let Some(reason) = end.abort_reason() {
            self.link.abort(reason).await;
        }
        self.link
    }

    fn command_parts(&self, context_id: u8, command: &CommandSet) -> Vec<Bytes> {
        let bytes = command.encode();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut set = Fragmenter::new(context_id, true, self.peer_pdu_bytes_max, length);
        let mut parts = Vec::with_capacity(8);
        set.push(bytes, &mut parts).expect("the fragmenter was told this length");
        parts
    }

    /// Makes a message the current one: only from here on is the data set that arrives its own. A
    /// held message must not be mistaken for the one that is being served.
    fn handed_on(&mut self, incoming: Incoming) -> Incoming {
        self.data = match &incoming {
            Incoming::Command(context_id, command) => command.has_data_set().then_some(*context_id),
            Incoming::Release => None,
        };
        incoming
    }

    /// Takes an event outside a data set; returns what it completes.
    fn assemble(&mut self, event: Event) -> Result<Option<Incoming>, End> {
        match event {
            Event::Fragment(fragment) => self.assemble_command(&fragment),
            Event::ReleaseRequest => Ok(Some(Incoming::Release)),
            Event::ReleaseReply
            | Event::Abort(_)
            | Event::AssociateRequest(_)
            | Event::AssociateAccept(_)
            | Event::AssociateReject(_) => Err(end_of(&event)),
        }
    }

    fn assemble_command(&mut self, fragment: &Fragment) -> Result<Option<Incoming>, End> {
        let invalid = End::Violation(AbortReason::InvalidParameter);
        if !fragment.command || self.contexts.by_id(fragment.context_id).is_none() {
            return Err(invalid);
        }
        let (context_id, mut bytes) = self.command.take().unwrap_or_else(|| (fragment.context_id, BytesMut::new()));
        if context_id != fragment.context_id || bytes.len() + fragment.data.len() > COMMAND_BYTES_MAX {
            return Err(invalid);
        }
        bytes.extend_from_slice(&fragment.data);
        if !fragment.last {
            self.command = Some((context_id, bytes));
            return Ok(None);
        }
        let command = CommandSet::decode(&bytes.freeze()).map_err(|_| invalid)?;
        Ok(Some(Incoming::Command(context_id, command)))
    }
}

/// Returns the end that an event outside its place makes.
fn end_of(event: &Event) -> End {
    match event {
        &Event::Abort([source_code, reason]) => End::PeerAborted { source_code, reason },
        Event::Fragment(_)
        | Event::ReleaseRequest
        | Event::ReleaseReply
        | Event::AssociateRequest(_)
        | Event::AssociateAccept(_)
        | Event::AssociateReject(_) => End::Violation(AbortReason::UnexpectedPdu),
    }
}
