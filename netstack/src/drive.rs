//! The task that drives the stack, and its clock.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use kernel::event::EventChannel;
use kernel::{task, time};

use crate::attend::{Link, Order};
use crate::netfront::{Domain, Netfront};
use crate::stack::Shared;

/// How far smoltcp's clock is put forward when the network comes back after a migration: past
/// its shortest retransmission time-out of one second (`RTTE_MIN_RTO`). So bytes whose
/// acknowledgement did not reach the guest are sent again at once. The network's time did go on
/// while the guest's stood still.
const NUDGE: Duration = Duration::from_millis(1100);

/// smoltcp's clock: the guest's clock plus all nudges.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    ahead: Duration,
}

impl Clock {
    fn now(self) -> smoltcp::time::Instant {
        let micros = time::turn().as_nanos() / 1000 + self.ahead.as_micros() as u64;
        smoltcp::time::Instant::from_micros(micros as i64)
    }

    /// Converts a time of smoltcp's clock to the guest's.
    fn to_guest(self, at: smoltcp::time::Instant) -> time::Instant {
        let micros = (at.total_micros() as u64).saturating_sub(self.ahead.as_micros() as u64);
        time::Instant::from_nanos(micros.saturating_mul(1000))
    }

    fn nudge(&mut self) {
        self.ahead += NUDGE;
    }
}

/// Drives the stack: polls it while there is work, then waits for the device, a socket operation
/// or a timer.
pub(crate) async fn drive(shared: Shared, mut device: Netfront<Domain>, link: Rc<Link>) {
    let mut clock = Clock::default();
    loop {
        match link.order.take() {
            None => {}
            Some(Order::Lose) => device.lose_connection(),
            Some(Order::Disconnect) => device.disconnect(),
            Some(Order::Connect(attached)) => {
                device.reconnect(attached.connection, attached.ip_mtu);
                clock.nudge();
                shared.with(|stack| {
                    stack.take_device(&mut device, attached.mac, clock.now());
                    stack.network_is_back();
                });
            }
        }
        let away = time::away();
        shared.with(|stack| stack.time_passed(away, clock.now()));
        if link.settling.get() && !device.has_received() {
            // During pre-copy the first write to a page in each round traps into Xen (shadow
            // paging), which takes some 20 us: so nothing is touched without need.
            device.settle();
            link.settling.set(false);
            task::yield_now().await;
            continue;
        }
        let progress = shared.with(|stack| stack.poll(&mut device, clock.now()));
        device.finish_batch();
        if link.settling.take() {
            device.settle();
        }
        link.statistics.set(device.statistics());
        if device.is_broken() {
            link.give_up();
        }
        if progress.again || device.has_work() {
            task::yield_now().await;
            continue;
        }
        let deadline = progress.deadline.map(|at| clock.to_guest(at));
        let channel = device.connection().map(|link| link.backend().channel());
        let (wake, waited) = wait(&shared, channel.as_deref(), deadline).await;
        if wake == Wake::Event {
            device.count_event();
        }
        if !waited {
            // Other tasks and the clock get their turn even if events never stop.
            task::yield_now().await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Event,
    Socket,
    Timer,
}

/// Waits for whichever comes first. Returns what it was, and whether there was a wait at all.
async fn wait(
    shared: &Shared,
    channel: Option<&EventChannel>,
    deadline: Option<time::Instant>,
) -> (Wake, bool) {
    let mut waited = false;
    let mut event = pin!(async {
        match channel {
            // A stale channel has no more events; its connection is about to be replaced.
            Some(channel) if channel.wait().await.is_ok() => {}
            _ => core::future::pending().await,
        }
    });
    let mut timer = pin!(async {
        match deadline {
            Some(deadline) => time::sleep_until(deadline).await,
            None => core::future::pending().await,
        }
    });
    poll_fn(|cx| {
        let wake = if event.as_mut().poll(cx).is_ready() {
            Wake::Event
        } else if shared.poll_kicked(cx).is_ready() {
            Wake::Socket
        } else if timer.as_mut().poll(cx).is_ready() {
            Wake::Timer
        } else {
            waited = true;
            return Poll::Pending;
        };
        Poll::Ready((wake, waited))
    })
    .await
}
