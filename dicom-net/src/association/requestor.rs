//! Opening an association (PS3.8 §7.1, §9.2): connect, request, read the answer.

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Association, Link, end_of};
use crate::ae_title::AeTitle;
use crate::end::End;
use crate::negotiation::{Proposal, read_accept, write_request};
use crate::options::Timeouts;
use crate::pdu::{Event, Phase};

/// Why an association could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// No connection.
    #[error("connect to {host_port}")]
    Connect {
        host_port: String,
        #[source]
        source: std::io::Error,
    },
    /// Nothing answered in time.
    #[error("connect to {host_port}: no answer in time")]
    TimedOut { host_port: String },
    /// The peer refused.
    #[error("request association: refused with {result}/{source_code}/{reason}")]
    Rejected { result: u8, source_code: u8, reason: u8 },
    /// The association ended before it began.
    #[error("request association")]
    Ended(#[from] End),
}

/// Opens an association with at most 128 proposals.
pub(crate) async fn connect(
    host_port: &str,
    calling_ae: &AeTitle,
    called_ae: &AeTitle,
    proposals: &[Proposal],
    max_pdu_bytes: u32,
    timeouts: Timeouts,
) -> Result<Association, ConnectError> {
    let host_port = host_port.to_owned();
    let stream = match timeout(timeouts.connect, TcpStream::connect(&host_port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(ConnectError::Connect { host_port, source }),
        Err(_) => return Err(ConnectError::TimedOut { host_port }),
    };
    let wait = timeouts.association_reply;
    let mut link = Link::new(stream, Phase::AwaitingReply, max_pdu_bytes, timeouts).map_err(End::from)?;
    let request = write_request(calling_ae, called_ae, proposals, max_pdu_bytes);
    link.send(vec![Bytes::from(request)]).await?;
    let answered = timeout(wait, link.next(Some(wait), "association reply")).await;
    match answered.map_err(|_| End::TimedOut("association reply"))?? {
        Event::AssociateAccept(pdu) => match read_accept(&pdu, proposals) {
            Ok(agreed) => {
                link.establish(max_pdu_bytes);
                Ok(Association::new(link, agreed.contexts, agreed.peer_pdu_bytes_max))
            }
            Err(reason) => {
                link.abort(reason).await;
                Err(End::Violation(reason).into())
            }
        },
        Event::AssociateReject([result, source_code, reason]) => {
            Err(ConnectError::Rejected { result, source_code, reason })
        }
        event @ (Event::AssociateRequest(_)
        | Event::Fragment(_)
        | Event::ReleaseRequest
        | Event::ReleaseReply
        | Event::Abort(_)) => Err(end_of(&event).into()),
    }
}
