//! Events between two guests that share nothing else: what a question and its answer cost when they
//! carry nothing. No guest that blocks until the event of its answer can be faster.

use alloc::string::String;
use core::cell::RefCell;
use core::time::Duration;

use kernel::event::EventChannel;
use kernel::{DomId, task, time};

use crate::client::since;
use crate::failure::Failure;

/// How long a guest that answers waits for the next event.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The event channel that the other guest may bind, if one was opened.
#[derive(Default)]
pub(crate) struct Bells(RefCell<Option<EventChannel>>);

impl Bells {
    /// Makes an event channel for domain `peer`, in place of the former one. Returns its port.
    pub(crate) fn open(&self, peer: DomId) -> Result<u32, Failure> {
        let channel = EventChannel::alloc_unbound(peer)?;
        let port = channel.port()?;
        *self.0.borrow_mut() = Some(channel);
        Ok(port)
    }

    /// Sends an event and waits for the answer, `rounds` times, after a first round that does not
    /// count.
    pub(crate) async fn ring(&self, rounds: u64) -> Result<String, Failure> {
        let channel = self.0.take().ok_or(Failure::NoBell)?;
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
}

/// Binds port `port` of domain `peer` and answers each event with one, until none has come for
/// [`ANSWER_LIMIT`].
pub(crate) fn answer(peer: DomId, port: u32) -> Result<(), Failure> {
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
