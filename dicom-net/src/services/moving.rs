//! C-MOVE SCP (PS3.4 §C.4.2): the requestor is told what the delivery does.

use std::sync::Arc;

use archive::Services;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{Instrument, warn};

use super::delivery::Delivery;
use super::progress::Progress;
use super::{Request, Scp};
use crate::ae_title::AeTitle;
use crate::association::Association;
use crate::command::element;
use crate::end::End;
use crate::negotiation::Root;
use crate::status::Status;

enum Event {
    Done,
    Tick,
    Cancelled,
    Lost(End),
}

impl<A: Services> Scp<A> {
    /// Sends what was asked for to the move destination.
    pub(super) async fn c_move(
        &self,
        association: &mut Association,
        request: &Request,
        root: Root,
    ) -> Result<Status, End> {
        let destination = request.command.text(element::MOVE_DESTINATION);
        let destination: Option<AeTitle> = destination.and_then(|title| title.parse().ok());
        let known = destination.and_then(|title| Some((self.options.destinations.get(&title)?.clone(), title)));
        let Some((destination, title)) = known else {
            let status = Status::MOVE_DESTINATION_UNKNOWN; // DI-081
            super::refuse(association, request, status, "move destination is not configured").await?;
            return Ok(status);
        };
        let instances = match self.select(association, request, root).await? {
            Ok(instances) => instances,
            Err(status) => return Ok(status),
        };
        if instances.is_empty() {
            return self.finish(association, request, &Progress::default(), Status::SUCCESS).await;
        }
        let own = self.options.ae_titles.first().unwrap_or(&self.peer.called_ae).clone();
        let delivery = Arc::new(Delivery::new(
            self.peer.caller.clone(),
            &destination.host_port,
            [own, title],
            (self.peer.calling_ae.clone(), request.message_id),
            self.options.max_pdu_bytes,
            self.options.timeouts.clone(),
            instances.len(),
        ));
        let (archive, running) = (self.archive.clone(), Arc::clone(&delivery));
        let work = Box::pin(async move { running.run(&archive, instances).await });
        self.watch(association, request, &delivery, work).await?;
        let progress = delivery.progress();
        let status = if delivery.is_cancelled() { Status::CANCEL } else { progress.final_status() };
        self.finish(association, request, &progress, status).await
    }

    /// Reports while the delivery works. When the requestor is lost, the delivery goes on in a
    /// task of the server, and this association is free (DI-091, UL-010).
    async fn watch(
        &self,
        association: &mut Association,
        request: &Request,
        delivery: &Delivery,
        mut work: std::pin::Pin<Box<impl Future<Output = ()> + Send + 'static>>,
    ) -> Result<(), End> {
        let every = association.timeouts().pending_every;
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                () = &mut work => Event::Done,
                _ = ticks.tick() => Event::Tick,
                cancelled = association.cancelled(request.message_id) => match cancelled {
                    Ok(()) => Event::Cancelled,
                    Err(end) => Event::Lost(end),
                },
            };
            let lost = match event {
                Event::Done => return Ok(()),
                Event::Cancelled => {
                    delivery.cancel();
                    continue;
                }
                Event::Tick => {
                    let progress = delivery.progress();
                    match self.tell_pending(association, request, &progress).await {
                        Ok(()) => continue,
                        Err(end) => end,
                    }
                }
                Event::Lost(end) => end,
            };
            warn!(end = %lost, "requestor of a move is lost, the move goes on");
            let stopped = self.stopped.clone();
            let rest = async move { stopped.run_until_cancelled(work).await };
            self.leftovers.spawn(rest.in_current_span());
            return Err(lost);
        }
    }
}
