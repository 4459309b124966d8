//! Events alone between two guests, without anything shared: what a question and its answer cost
//! when they carry nothing. No question whose guest blocks until the answer's event can be faster.

use alloc::string::String;
use core::cell::RefCell;
use core::time::Duration;

use kernel::event::EventChannel;
use kernel::{DomId, task, time};

use crate::failure::Failure;
use crate::measure::{Bench, since};

/// How long a guest that answers waits for the next event.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The end of a channel that the other guest may bind.
#[derive(Default)]
pub(crate) struct Bells(RefCell<Option<EventChannel>>);

impl Bench {
    /// Makes an event channel for domain `peer`; returns its port. The one before ends.
    pub(crate) fn open_bell(&self, peer: DomId) -> Result<u32, Failure> {
        let channel = EventChannel::alloc_unbound(peer)?;
        let port = channel.port()?;
        *self.bells().borrow_mut() = Some(channel);
        Ok(port)
    }

    /// Binds port `port` of domain `peer` and answers each event with one, until none comes for a
    /// while.
    pub(crate) fn answer_bell(peer: DomId, port: u32) -> Result<(), Failure> {
        let channel = EventChannel::bind_interdomain(peer, port)?;
        let answers = async move {
            while let Ok(Ok(())) = time::timeout(ANSWER_LIMIT, channel.wait()).await {
                if channel.notify().is_err() {
                    return;
                }
            }
        };
        task::spawn(answers).detach();
        Ok(())
    }

    /// Sends an event and waits for the answer, again and again; the first round is not counted.
    pub(crate) async fn ring_bell(&self, rounds: u64) -> Result<String, Failure> {
        let channel = self.bells().take().ok_or(Failure::NoBell)?;
        channel.notify()?;
        channel.wait().await?;
        let start = time::now();
        for _ in 0..rounds {
            channel.notify()?;
            channel.wait().await?;
        }
        let nanos = since(start);
        Ok(alloc::format!("rounds={rounds} ns={nanos}"))
    }

    fn bells(&self) -> &RefCell<Option<EventChannel>> {
        &self.state().bells.0
    }
}
