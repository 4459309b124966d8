//! The device comes, goes, fails and comes again.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::task::{Poll, Waker};
use core::time::Duration;

use embassy_futures::select::{Either, select};
use kernel::lifecycle::{Lifecycle, Outcome};
use kernel::xenbus::{BusError, State};
use kernel::xenstore::StoreError;
use sim::xen::Dom;
use smoltcp::wire::EthernetAddress;

use super::world::{Clock, World};
use crate::attend::{Attendant, Condition, Departure, Link, Order, Part, Vif};
use crate::error::NetError;
use crate::netfront::Attached;
use crate::options::Limits;

const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 7]);

/// What the toolstack and the backend do, and what they see.
#[derive(Default)]
struct Script {
    /// The outcomes of attempts; the last one repeats.
    outcomes: VecDeque<Result<u32, NetError>>,
    /// When each attempt was made, and whether the guest had just moved.
    attempts: Vec<(Duration, bool)>,
    departure: Option<Departure>,
    changed: bool,
    released: usize,
    wakers: Vec<Waker>,
}

/// A device that follows a script. Its connections are numbers.
struct Scripted {
    script: Rc<RefCell<Script>>,
    clock: Clock,
}

impl Scripted {
    /// Waits until `take` finds something in the script.
    async fn wait<T>(&self, mut take: impl FnMut(&mut Script) -> Option<T>) -> T {
        poll_fn(|cx| {
            let mut script = self.script.borrow_mut();
            match take(&mut script) {
                Some(found) => Poll::Ready(found),
                None => {
                    script.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Vif for Scripted {
    type Connection = u32;

    async fn connect(&mut self, moved: bool) -> Result<Attached<u32>, NetError> {
        let mut script = self.script.borrow_mut();
        let now = Duration::from_micros(self.clock.now().total_micros() as u64);
        script.attempts.push((now, moved));
        let outcome = match script.outcomes.len() {
            1 => script.outcomes[0].clone(),
            _ => script.outcomes.pop_front().unwrap(),
        };
        outcome.map(|connection| Attached {
            connection,
            mac: MAC,
            ip_mtu: 1500,
        })
    }

    async fn left(&mut self) -> Departure {
        self.wait(|script| script.departure.take()).await
    }

    async fn release(&mut self) {
        self.script.borrow_mut().released += 1;
    }

    async fn changed(&mut self, limit: Duration) {
        let change = self.wait(|script| core::mem::take(&mut script.changed).then_some(()));
        select(change, self.clock.sleep(limit)).await;
    }
}

/// A world with a guest whose device follows a script.
struct Stage {
    world: World,
    script: Rc<RefCell<Script>>,
    link: Rc<Link<u32>>,
    part: Part<Dom, u32>,
}

impl Stage {
    fn new(outcomes: impl IntoIterator<Item = Result<u32, NetError>>) -> Self {
        let world = World::bare(1, Limits::default());
        let link = Rc::new(Link::default());
        let script = Script {
            outcomes: outcomes.into_iter().collect(),
            ..Script::default()
        };
        Self {
            part: Part {
                shared: world.a(),
                link: link.clone(),
            },
            script: Rc::new(RefCell::new(script)),
            link,
            world,
        }
    }

    /// Runs the attendant beside `play`.
    fn run<F: Future>(&mut self, play: impl FnOnce(Clock) -> F) -> F::Output {
        let clock = self.world.clock.clone();
        let attendant = Attendant {
            shared: self.world.a(),
            link: self.link.clone(),
            vif: Scripted {
                script: self.script.clone(),
                clock: clock.clone(),
            },
        };
        let play = play(clock);
        let both = async {
            match select(attendant.run(), play).await {
                Either::First(never) => match never {},
                Either::Second(result) => result,
            }
        };
        self.world.run(both)
    }

    fn attempts(&self) -> Vec<(Duration, bool)> {
        self.script.borrow().attempts.clone()
    }

    /// Returns the driving task's next order: `Some` connection, or none.
    fn order(&self) -> Option<u32> {
        match self.link.order.take() {
            Some(Order::Connect(attached)) => Some(attached.connection),
            Some(Order::Disconnect | Order::Lose) | None => None,
        }
    }
}

/// Changes the script and wakes who waits for it.
fn tell(script: &RefCell<Script>, change: impl FnOnce(&mut Script)) {
    let wakers = {
        let mut script = script.borrow_mut();
        change(&mut script);
        core::mem::take(&mut script.wakers)
    };
    wakers.into_iter().for_each(Waker::wake);
}

/// A backend that is still busy after 30 s.
fn slow() -> NetError {
    NetError::Bus(BusError::Timeout {
        last: State::InitWait,
        waited: Duration::from_secs(30),
    })
}

/// A xenstore that does not answer.
fn silent() -> NetError {
    NetError::Bus(BusError::Store {
        path: "device/vif/0/backend".into(),
        error: StoreError::Timeout,
    })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_reattach_that_fails_is_tried_again_until_it_succeeds() {
    let failures = [silent(), slow(), silent(), slow(), slow(), slow(), slow()];
    let outcomes = failures.into_iter().map(Err).chain([Ok(2)]);
    let mut stage = Stage::new(outcomes);
    stage.part.resume(Outcome::NewDomain);
    let (link, seen) = (stage.link.clone(), RefCell::new(Vec::new()));
    stage.run(async |clock: Clock| {
        for _ in 0..90 {
            seen.borrow_mut().push(link.condition.borrow().clone());
            clock.sleep(seconds(1)).await;
        }
    });
    let times: Vec<_> = stage
        .attempts()
        .iter()
        .map(|(at, _)| at.as_millis())
        .collect();
    assert_eq!(times, [0, 500, 1500, 3500, 7500, 15_500, 31_500, 61_500]);
    let moved: Vec<_> = stage.attempts().iter().map(|(_, moved)| *moved).collect();
    assert_eq!(
        moved[..3],
        [true, false, false],
        "the quick way is tried once"
    );
    assert_eq!(stage.order(), Some(2));
    let seen = seen.into_inner();
    let reason = Some(slow().to_string());
    assert_eq!(seen[50], Condition::Away { failed: 7, reason });
    assert_eq!(seen[89], Condition::Connected);
}

#[test]
fn a_device_that_is_taken_away_and_given_again_is_connected() {
    let none = || {
        Err(NetError::Bus(BusError::NoDevice {
            class: "vif".into(),
            index: 0,
        }))
    };
    let mut stage = Stage::new([none(), none(), Ok(9)]);
    let (script, link) = (stage.script.clone(), stage.link.clone());
    stage.run(async |clock: Clock| {
        clock.sleep(seconds(1)).await;
        tell(&script, |script| {
            script.departure = Some(Departure::Closing)
        });
        clock.sleep(seconds(1)).await;
        assert!(matches!(link.order.take(), Some(Order::Disconnect)));
        assert_eq!(script.borrow().released, 1, "the toolstack is told");
        // Within the pause of a second that follows the second attempt.
        clock.sleep(Duration::from_millis(100)).await;
        tell(&script, |script| script.changed = true);
        clock.sleep(Duration::from_millis(1)).await;
    });
    let times: Vec<_> = stage
        .attempts()
        .iter()
        .map(|(at, _)| at.as_millis())
        .collect();
    assert_eq!(
        times,
        [1000, 1500, 2100],
        "not before there is another device"
    );
    assert!(stage.attempts().iter().all(|(_, moved)| !moved));
    assert_eq!(stage.order(), Some(9));
}

#[test]
fn a_driver_domain_that_vanishes_and_starts_again_is_connected_to() {
    let mut stage = Stage::new([Err(NetError::Bus(BusError::BackendGone)), Ok(3), Ok(4)]);
    let script = stage.script.clone();
    let link = stage.link.clone();
    stage.run(async |clock: Clock| {
        for connection in [3, 4] {
            tell(&script, |script| script.departure = Some(Departure::Gone));
            clock.sleep(seconds(2)).await;
            let order = link.order.take();
            assert!(matches!(order, Some(Order::Connect(new)) if new.connection == connection));
        }
    });
    assert_eq!(stage.script.borrow().released, 2);
}

#[test]
fn a_guest_that_moves_on_begins_anew_at_once() {
    let mut stage = Stage::new([Err(slow()), Err(slow()), Err(slow()), Ok(5)]);
    stage.part.resume(Outcome::NewDomain);
    let part = Part {
        shared: stage.world.a(),
        link: stage.link.clone(),
    };
    stage.run(async |clock: Clock| {
        // Attempts at 0 and 0.5 s, and then a pause of a second.
        clock.sleep(seconds(1)).await;
        part.resume(Outcome::NewDomain);
        clock.sleep(seconds(1)).await;
    });
    let attempts: Vec<_> = stage
        .attempts()
        .iter()
        .map(|(at, moved)| (at.as_millis(), *moved))
        .collect();
    let expected = [(0, true), (500, false), (1000, true), (1500, false)];
    assert_eq!(attempts, expected);
    assert_eq!(stage.order(), Some(5));
}

#[test]
fn a_backend_that_breaks_the_protocol_is_asked_for_another_connection() {
    let mut stage = Stage::new([Ok(6)]);
    let link = stage.link.clone();
    stage.run(async |clock: Clock| {
        clock.sleep(seconds(1)).await;
        link.give_up();
        clock.sleep(seconds(1)).await;
    });
    assert_eq!(stage.attempts(), [(seconds(1), false)]);
    assert_eq!(stage.script.borrow().released, 1);
    assert_eq!(stage.order(), Some(6));
}

#[test]
fn a_cancelled_suspend_changes_nothing() {
    let mut stage = Stage::new([Ok(6)]);
    stage.part.resume(Outcome::Cancelled);
    stage.run(async |clock: Clock| clock.sleep(seconds(100)).await);
    assert!(stage.attempts().is_empty());
    assert!(stage.link.order.take().is_none());
}
