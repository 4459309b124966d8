//! Moves bytes between the session and the ring: the only part that touches
//! the page and the event channel.

use alloc::rc::Rc;
use core::{future::poll_fn, pin::pin, task::Poll};

use super::{
    connection::Connection,
    error::ProtocolError,
    ring::{RING_BYTES, RingMemory, Rings},
    session::Session,
};
use crate::{
    bug,
    event::EventChannel,
    task,
    time::{self, Instant},
};

/// Rounds of sending and receiving before other tasks get their turn, so that a
/// xenstored that never stops sending cannot monopolise the vCPU.
const ROUNDS: usize = 16;

/// The rings, with the page that contains them.
pub(super) struct Driver<M> {
    page: M,
    rings: Rings,
}

/// What remains to be done after pumping.
#[derive(Default)]
pub(super) struct Pumped {
    /// Some bytes were moved.
    pub moved: bool,
    /// xenstored has to be notified.
    pub notify: bool,
    /// There may be more to do right away.
    pub again: bool,
    /// The connection is unusable until the guest is another domain.
    pub broken: bool,
}

impl<M: RingMemory> Driver<M> {
    pub(super) fn new(page: M) -> Self {
        let rings = Rings::attach(&page);
        Self { page, rings }
    }

    /// Expires requests past their deadline, then moves bytes both ways while
    /// there are any.
    pub(super) fn pump(&mut self, connection: &Connection, now: Instant) -> Pumped {
        let mut pumped = Pumped::default();
        connection.with(|session| {
            if session.take_renewed() {
                self.rings = Rings::attach_emptied(&self.page);
            }
            if session.broken().is_some() {
                pumped.broken = true;
                return;
            }
            session.advance(now);
            for _ in 0..ROUNDS {
                match self.round(session, &mut pumped) {
                    Ok(true) => pumped.moved = true,
                    Ok(false) => return,
                    Err(error) => session.fail(error),
                }
                if let Some(error) = session.broken() {
                    log::error!("xenstore: connection given up: {error}");
                    pumped.broken = true;
                    return;
                }
            }
            pumped.again = true;
        });
        pumped
    }

    /// Moves bytes once each way; returns whether any moved.
    fn round(&mut self, session: &mut Session, pumped: &mut Pumped) -> Result<bool, ProtocolError> {
        let mut moved = false;
        if let Some(bytes) = session.outgoing() {
            let sent = self.rings.send(&self.page, bytes)?;
            session.sent(sent);
            moved |= sent > 0;
            pumped.notify |= sent > 0;
        }
        let mut buffer = [0; RING_BYTES];
        let received = self.rings.receive(&self.page, &mut buffer)?;
        session.receive(&buffer[..received.bytes]);
        pumped.notify |= received.notify;
        Ok(moved || received.bytes > 0)
    }
}

/// The ring's task. While the connection is unusable it waits for another domain.
pub(super) async fn run<M: RingMemory>(page: M, channel: EventChannel, connection: Rc<Connection>) {
    let mut driver = Driver::new(page);
    loop {
        let pumped = driver.pump(&connection, time::now());
        if pumped.notify && channel.notify().is_err() {
            bug::report("xenstore's event channel ended before the guest");
            return;
        }
        if pumped.broken {
            connection.kicked().await;
        } else if pumped.again {
            task::yield_now().await;
        } else {
            wait(&channel, &connection).await;
        }
    }
}

/// Waits for an event, a change by a handle, or the next deadline.
async fn wait(channel: &EventChannel, connection: &Connection) {
    let mut event = pin!(channel.wait());
    let mut timer = pin!(connection.next_deadline().map(time::sleep_until));
    poll_fn(|context| {
        let timed_out = timer
            .as_mut()
            .as_pin_mut()
            .is_some_and(|timer| timer.poll(context).is_ready());
        let event_came = event.as_mut().poll(context).is_ready();
        let kicked = connection.poll_kicked(context).is_ready();
        if timed_out || event_came || kicked {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
