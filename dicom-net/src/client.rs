//! The asking side: a small user of the services, for demonstrations and tests.

use bytes::Bytes;
use dicom_data::{Attributes, Limits, TransferSyntax};

use crate::ae_title::AeTitle;
use crate::association::{self, Association, Incoming};
use crate::command::{CommandField, CommandSet, element};
use crate::end::End;
use crate::negotiation::Context;
use crate::options::Timeouts;
use crate::status::{Category, Status};

pub use crate::negotiation::Proposal;

/// Maximum length we ask for.
const PDU_BYTES_MAX: u32 = 131_072;
/// Longest identifier or instance a client keeps in memory.
const DATA_BYTES_MAX: usize = 1 << 30;
const VERIFICATION: &str = "1.2.840.10008.1.1";

/// Why a client could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no association, or there is none any more.
    #[error("{doing}")]
    Association {
        /// What was being done.
        doing: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The peer did not accept a context that is needed.
    #[error("use {sop_class_uid}: the peer accepted no context for it")]
    NoContext {
        /// The SOP class.
        sop_class_uid: String,
    },
    /// The peer answered that it failed.
    #[error("peer answers {0}")]
    Failed(Status),
}

/// An open association with another node.
#[derive(Debug)]
pub struct Client {
    association: Association,
    message_id: u16,
}

/// The end of a retrieve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retrieved {
    /// Final status.
    pub status: Status,
    /// Instances sent without a warning.
    pub completed: u16,
    /// Instances not sent.
    pub failed: u16,
    /// Instances sent with a warning.
    pub warning: u16,
}

/// An instance that came by C-GET.
#[derive(Debug, Clone)]
pub struct Received {
    /// SOP Class UID.
    pub sop_class_uid: String,
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// Transfer syntax of the data set.
    pub transfer_syntax_uid: String,
    /// The data set as sent.
    pub data_set: Bytes,
}

impl Proposal {
    /// Returns a proposal for a SOP class.
    pub fn new(sop_class_uid: &str, transfer_syntaxes: &[&str]) -> Self {
        Self {
            abstract_syntax: sop_class_uid.to_owned(),
            transfer_syntaxes: transfer_syntaxes.iter().map(|uid| (*uid).to_owned()).collect(),
            as_scp: false,
        }
    }

    /// Proposes to receive instances of the class by C-GET.
    #[must_use]
    pub fn as_scp(mut self) -> Self {
        self.as_scp = true;
        self
    }
}

fn ended(doing: &'static str) -> impl Fn(End) -> Error {
    move |end| Error::Association { doing, source: Box::new(end) }
}

impl Client {
    /// Opens an association; at most 128 proposals.
    pub async fn connect(
        host_port: &str,
        calling_ae: &AeTitle,
        called_ae: &AeTitle,
        proposals: &[Proposal],
    ) -> Result<Self, Error> {
        let timeouts = Timeouts::default();
        let connected = association::connect(host_port, calling_ae, called_ae, proposals, PDU_BYTES_MAX, timeouts);
        let association = connected
            .await
            .map_err(|error| Error::Association { doing: "open association", source: Box::new(error) })?;
        Ok(Self { association, message_id: 0 })
    }

    /// Asks whether the peer is there.
    pub async fn echo(&mut self) -> Result<Status, Error> {
        let context_id = self.context(VERIFICATION)?.id;
        let command = CommandSet::request(0x0030, self.next_id(), VERIFICATION);
        self.ask(context_id, command, None).await.map_err(ended("verify")).map(|r| r.status())
    }

    /// Stores one instance; the data set is in the transfer syntax of an accepted context.
    pub async fn store(
        &mut self,
        sop_class_uid: &str,
        sop_instance_uid: &str,
        transfer_syntax_uid: &str,
        data_set: Bytes,
    ) -> Result<Status, Error> {
        let contexts = self.association.contexts();
        let context_id = contexts
            .with_syntax(sop_class_uid, transfer_syntax_uid)
            .ok_or_else(|| Error::NoContext { sop_class_uid: sop_class_uid.to_owned() })?
            .id;
        let command = CommandSet::request(0x0001, self.next_id(), sop_class_uid)
            .with_uid(element::AFFECTED_SOP_INSTANCE_UID, sop_instance_uid)
            .with_u16(element::PRIORITY, 0);
        let response = self.ask(context_id, command, Some(data_set)).await;
        response.map_err(ended("store instance")).map(|response| response.status())
    }

    /// Queries; returns all matches.
    pub async fn find(&mut self, sop_class_uid: &str, identifier: &Attributes) -> Result<Vec<Attributes>, Error> {
        let (context_id, syntax) = self.context_and_syntax(sop_class_uid)?;
        let command = CommandSet::request(0x0020, self.next_id(), sop_class_uid).with_u16(element::PRIORITY, 0);
        let message_id = command.message_id().unwrap_or(0);
        let data = Some(dicom_data::encode(identifier, syntax).into());
        let mut found = Vec::new();
        let mut response = self.ask(context_id, command, data).await.map_err(ended("query"))?;
        while response.status().category() == Category::Pending {
            let data = self.association.read_data(DATA_BYTES_MAX).await.map_err(ended("query"))?;
            let parsed = dicom_data::read(&data.unwrap_or_default()[..], syntax, &Limits::default());
            found.push(
                parsed.map_err(|error| Error::Association { doing: "read match", source: Box::new(error) })?.attributes,
            );
            let next = self.association.response(message_id, |_| {}).await;
            response = next.map_err(ended("query"))?;
        }
        match response.status() {
            Status::SUCCESS => Ok(found),
            failed => Err(Error::Failed(failed)),
        }
    }

    /// Has instances sent to a third node, by its AE title.
    pub async fn move_to(
        &mut self,
        sop_class_uid: &str,
        destination: &AeTitle,
        identifier: &Attributes,
    ) -> Result<Retrieved, Error> {
        let (context_id, syntax) = self.context_and_syntax(sop_class_uid)?;
        let command = CommandSet::request(0x0021, self.next_id(), sop_class_uid)
            .with_u16(element::PRIORITY, 0)
            .with_text(element::MOVE_DESTINATION, destination.as_str());
        let message_id = command.message_id().unwrap_or(0);
        let data = Some(dicom_data::encode(identifier, syntax).into());
        let mut response = self.ask(context_id, command, data).await.map_err(ended("move"))?;
        while response.status().category() == Category::Pending {
            let next = self.association.response(message_id, |_| {}).await;
            response = next.map_err(ended("move"))?;
        }
        self.association.drain().await.map_err(ended("move"))?;
        Ok(retrieved(&response))
    }

    /// Has instances sent over this association; `take` gets each and says what became of it.
    pub async fn get(
        &mut self,
        sop_class_uid: &str,
        identifier: &Attributes,
        mut take: impl FnMut(Received) -> Status,
    ) -> Result<Retrieved, Error> {
        let (context_id, syntax) = self.context_and_syntax(sop_class_uid)?;
        let command = CommandSet::request(0x0010, self.next_id(), sop_class_uid).with_u16(element::PRIORITY, 0);
        let data = dicom_data::encode(identifier, syntax).into();
        let sent = self.association.send_with_data(context_id, command, data).await;
        sent.map_err(ended("get"))?;
        loop {
            let incoming = self.association.next().await.map_err(ended("get"))?;
            let Incoming::Command(context_id, command) = incoming else {
                return Err(ended("get")(End::Torn("peer releases in the middle")));
            };
            match command.field() {
                CommandField::StoreRequest => {
                    self.receive(context_id, &command, &mut take).await.map_err(ended("get"))?;
                }
                CommandField::Response
                | CommandField::GetRequest
                | CommandField::FindRequest
                | CommandField::MoveRequest
                | CommandField::EchoRequest
                | CommandField::Cancel
                | CommandField::Other => {
                    self.association.drain().await.map_err(ended("get"))?;
                    if command.status().category() != Category::Pending {
                        return Ok(retrieved(&command));
                    }
                }
            }
        }
    }

    /// Releases the association.
    pub async fn release(self) -> Result<(), Error> {
        self.association.release().await.map_err(ended("release"))
    }

    async fn receive(
        &mut self,
        context_id: u8,
        command: &CommandSet,
        take: &mut impl FnMut(Received) -> Status,
    ) -> Result<(), End> {
        let transfer_syntax_uid = self.association.context(context_id)?.transfer_syntax.clone();
        let text = |element| command.text(element).unwrap_or_default().to_owned();
        let status = match self.association.read_data(DATA_BYTES_MAX).await? {
            None => Status::OUT_OF_RESOURCES,
            Some(data_set) => take(Received {
                sop_class_uid: text(element::AFFECTED_SOP_CLASS_UID),
                sop_instance_uid: text(element::AFFECTED_SOP_INSTANCE_UID),
                transfer_syntax_uid,
                data_set,
            }),
        };
        self.association.send(context_id, &command.response(status)).await
    }

    async fn ask(&mut self, context_id: u8, command: CommandSet, data: Option<Bytes>) -> Result<CommandSet, End> {
        let message_id = command.message_id().unwrap_or(0);
        match data {
            Some(data) => {
                let sent = self.association.send_with_data(context_id, command, data);
                sent.await?;
            }
            None => self.association.send(context_id, &command).await?,
        }
        self.association.response(message_id, |_| {}).await
    }

    fn next_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }

    fn context(&self, sop_class_uid: &str) -> Result<&Context, Error> {
        let context = self.association.contexts().of_class(sop_class_uid);
        context.ok_or_else(|| Error::NoContext { sop_class_uid: sop_class_uid.to_owned() })
    }

    fn context_and_syntax(&self, sop_class_uid: &str) -> Result<(u8, &'static TransferSyntax), Error> {
        let context = self.context(sop_class_uid)?;
        let syntax = dicom_data::transfer_syntax(&context.transfer_syntax)
            .ok_or_else(|| Error::NoContext { sop_class_uid: sop_class_uid.to_owned() })?;
        Ok((context.id, syntax))
    }
}

fn retrieved(response: &CommandSet) -> Retrieved {
    let count = |element| response.number(element).unwrap_or(0);
    Retrieved {
        status: response.status(),
        completed: count(element::COMPLETED),
        failed: count(element::FAILED),
        warning: count(element::WARNING),
    }
}
