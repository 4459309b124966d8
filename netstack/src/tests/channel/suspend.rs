//! The channel's part in a suspend, called as the kernel's lifecycle calls it.

use alloc::rc::Rc;
use core::time::Duration;

use embedded_io_async::{Read, Write};
use kernel::lifecycle::{Lifecycle, Outcome};
use sim::xen::{Holdings, SharedHost};
use vmc::Cause;

use super::{connected, echo, statistics};
use crate::options::TcpOptions;
use crate::tests::world::{Clock, Shared, World, join};
use crate::tests::{pattern, read_to_end};

const MODES: [&str; 2] = ["vmc=original", "vmc=advance"];

/// Two guests of one machine.
fn neighbours(seed: u64, options: &str) -> World {
    let mut world = World::new(seed);
    world.share_memory_with(seed, options);
    world
}

/// A guest, and its channel's part in a suspend.
struct Guest {
    shared: Shared,
    part: Rc<dyn Lifecycle>,
    clock: Clock,
}

impl Guest {
    fn of(world: &World, index: usize) -> Self {
        let host = &world.hosts[index];
        Self {
            shared: host.shared.clone(),
            part: host.channel.as_ref().unwrap().part.clone(),
            clock: world.clock.clone(),
        }
    }

    /// Begins a suspend: settles, as long as that takes.
    async fn settle(&self) {
        let began = self.clock.now();
        self.part.settle();
        while !self.part.is_settled() {
            self.clock.sleep(Duration::from_millis(1)).await;
        }
        let took = self.clock.now() - began;
        assert!(took.millis() < 1000, "settled after {took}");
    }

    /// What the guest holds of the hypervisor's.
    fn holdings(&self) -> Holdings {
        self.shared
            .with(|stack| stack.channel.as_ref().unwrap().vmc.platform().holdings())
    }

    /// Pages of rings in use that the guest owns; a migration would send them.
    fn own_rings(&self) -> usize {
        self.shared.with(|stack| {
            stack
                .channel
                .as_ref()
                .unwrap()
                .vmc
                .report()
                .own_rings()
                .count()
        })
    }

    /// Migrates the guest to `host` after `pre_copy`.
    async fn migrate(&self, host: &SharedHost, pre_copy: Duration) {
        self.move_to(host, pre_copy).await;
        self.shared.with(|stack| stack.network_is_back());
    }

    /// The same, up to the moment at which the guest knows its domid.
    async fn move_to(&self, host: &SharedHost, pre_copy: Duration) {
        self.part.early_notice();
        self.clock.sleep(pre_copy).await;
        self.settle().await;
        self.part.quiesce();
        assert_eq!(self.holdings().maps, 0, "nothing foreign is saved");
        self.shared.with(|stack| {
            let platform = stack.channel.as_mut().unwrap().vmc.platform_mut();
            platform.suspend();
            platform.migrate(host);
        });
        self.part.resume(Outcome::NewDomain);
        self.part.identified();
    }
}

#[test]
fn a_migration_in_mid_stream_loses_nothing() {
    for mode in MODES {
        for leaver in 0..2 {
            let mut world = neighbours(30 + leaver as u64, mode);
            let (client, served) = connected(&mut world, 7, TcpOptions::default());
            let guests = [0, 1].map(|index| Guest::of(&world, index));
            let there = sim::xen::Host::new(20);
            let data = pattern(3_000_000);
            let (mut read, mut write) = client.split();
            let back = world.run(async {
                let writer = async {
                    for (number, piece) in data.chunks(3000).enumerate() {
                        if number == 300 {
                            let pre_copy = Duration::from_millis(50);
                            guests[leaver].migrate(&there, pre_copy).await;
                        }
                        write.write_all(piece).await.unwrap();
                    }
                    write.shutdown();
                };
                join(join(writer, read_to_end(&mut read)), echo(served))
                    .await
                    .0
                    .1
            });
            assert!(
                back == data,
                "{mode}: {} of {} bytes",
                back.len(),
                data.len()
            );
            world.pass(Duration::from_secs(30));
            for guest in &guests {
                let counted = statistics(&guest.shared);
                assert_eq!((counted.upgrades, counted.failed), (1, 0), "{mode}");
                assert_eq!(guest.holdings(), Holdings::default(), "{mode}");
            }
        }
    }
}

/// What the channel asked while the network was away is asked again at once: no timer, of up to a
/// second by then, is waited for.
#[test]
fn the_channel_asks_again_once_the_network_is_back() {
    let mut world = neighbours(42, "vmc=advance");
    let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
    let guest = Guest::of(&world, 0);
    let there = sim::xen::Host::new(20);
    let away = Duration::from_millis(3300);
    let now = Duration::from_micros(world.clock.now().total_micros() as u64);
    world.dark.push(now..now + away);
    world.run(guest.move_to(&there, Duration::from_millis(10)));
    world.pass(away);
    guest.shared.with(|stack| stack.network_is_back());
    let began = world.clock.now();
    world.run(async {
        client.write_all(b"here").await.unwrap();
        let mut buf = [0; 4];
        served.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"here");
    });
    let took = world.clock.now() - began;
    assert!(took.millis() < 20, "{took}");
}

#[test]
fn guests_that_meet_again_share_memory_again() {
    for mode in MODES {
        let mut world = neighbours(34, mode);
        let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
        let guest = Guest::of(&world, 0);
        let here = world.machine.as_ref().unwrap().host.clone();
        let there = sim::xen::Host::new(20);
        let pre_copy = Duration::from_millis(20);
        for (host, upgrades) in [(&there, 1), (&here, 2)] {
            world.run(guest.migrate(host, pre_copy));
            world.pass(Duration::from_secs(1));
            world.run(async {
                client.write_all(b"still there?").await.unwrap();
                let mut buf = [0; 12];
                served.read_exact(&mut buf).await.unwrap();
                assert_eq!(&buf, b"still there?");
            });
            assert_eq!(statistics(&guest.shared).upgrades, upgrades, "{mode}");
        }
    }
}

/// With `vmc=original` the links end at the notice, and come back if the toolstack gives up.
#[test]
fn the_original_protocol_leaves_at_the_notice() {
    let mut world = neighbours(35, "vmc=original");
    let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
    let guests = [0, 1].map(|index| Guest::of(&world, index));
    guests[0].part.early_notice();
    world.pass(Duration::from_millis(20));
    let [left, stayed] = [0, 1].map(|index| statistics(&guests[index].shared));
    assert_eq!(left.ended(Cause::Left), 1);
    assert_eq!(stayed.ended(Cause::PeerMigrating), 1);
    world.pass(Duration::from_secs(1));
    assert_eq!(guests[0].holdings(), Holdings::default());
    guests[0].part.notice_withdrawn();
    world.pass(Duration::from_millis(700));
    world.run(async {
        client.write_all(b"back").await.unwrap();
        let mut buf = [0; 4];
        served.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"back");
    });
    assert_eq!(statistics(&guests[0].shared).upgrades, 2);
}

/// A suspend without a notice: with `vmc=original` the links are left before it, with
/// `vmc=advance` they end with it.
#[test]
fn a_suspend_without_a_notice_ends_the_links() {
    for (mode, left, frozen) in [("vmc=original", 1, 0), ("vmc=advance", 0, 1)] {
        let mut world = neighbours(40, mode);
        let (client, served) = connected(&mut world, 7, TcpOptions::default());
        let guests = [0, 1].map(|index| Guest::of(&world, index));
        world.run(guests[0].settle());
        guests[0].part.quiesce();
        world.pass(Duration::from_millis(50));
        let counted = statistics(&guests[0].shared);
        assert_eq!(counted.ended(Cause::Left), left, "{mode}");
        assert_eq!(counted.ended(Cause::Suspended), frozen, "{mode}");
        assert_eq!(guests[0].holdings().maps, 0, "{mode}");
        drop((client, served));
    }
}

/// With `vmc=advance` the link stays, but no ring in use is the migrating guest's.
#[test]
fn the_advanced_protocol_keeps_the_link_through_pre_copy() {
    let mut world = neighbours(36, "vmc=advance");
    let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
    let guests = [0, 1].map(|index| Guest::of(&world, index));
    guests[0].part.early_notice();
    world.pass(Duration::from_millis(50));
    world.run(async {
        let mut buf = [0; 8];
        client.write_all(b"pre-copy").await.unwrap();
        served.read_exact(&mut buf).await.unwrap();
        served.write_all(&buf).await.unwrap();
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"pre-copy");
    });
    assert_eq!(guests[0].own_rings(), 0);
    assert!(guests[1].own_rings() > 0);
    guests[0].part.notice_withdrawn();
    world.pass(Duration::from_millis(700));
    for guest in &guests {
        let counted = statistics(&guest.shared);
        assert_eq!((counted.upgrades, counted.fallbacks), (1, 0));
    }
}

#[test]
fn a_cancelled_suspend_finds_the_peer_again() {
    for mode in MODES {
        let mut world = neighbours(37, mode);
        let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
        let guest = Guest::of(&world, 1);
        world.run(async {
            client.write_all(b"before ").await.unwrap();
            guest.settle().await;
        });
        guest.part.quiesce();
        guest.part.resume(Outcome::Cancelled);
        world.pass(Duration::from_millis(700));
        world.run(async {
            client.write_all(b"after").await.unwrap();
            let mut buf = [0; 12];
            served.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"before after");
            served.write_all(&buf).await.unwrap();
            client.read_exact(&mut buf).await.unwrap();
        });
        let counted = statistics(&guest.shared);
        assert_eq!((counted.upgrades, counted.failed), (2, 0), "{mode}");
    }
}

/// In a new domain nobody is greeted before the guest knows its number.
#[test]
fn a_new_domain_greets_once_it_is_identified() {
    let mut world = neighbours(38, "vmc=advance");
    let (client, served) = connected(&mut world, 7, TcpOptions::default());
    let guest = Guest::of(&world, 0);
    let datagrams = |guest: &Guest| statistics(&guest.shared).datagrams;
    guest.part.early_notice();
    world.run(guest.settle());
    guest.part.quiesce();
    guest.part.resume(Outcome::NewDomain);
    let before = datagrams(&Guest::of(&world, 1));
    world.pass(Duration::from_secs(1));
    assert_eq!(datagrams(&Guest::of(&world, 1)), before);
    guest.part.identified();
    world.pass(Duration::from_secs(1));
    assert!(datagrams(&Guest::of(&world, 1)) > before);
    drop((client, served));
}

#[test]
fn a_guest_that_ends_tells_its_peers() {
    let mut world = neighbours(39, "vmc=advance");
    let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
    let guests = [0, 1].map(|index| Guest::of(&world, index));
    world.run(async { served.write_all(b"last words").await.unwrap() });
    guests[1].part.end();
    assert!(!guests[1].part.is_settled());
    world.pass(Duration::from_millis(20));
    assert!(guests[1].part.is_settled());
    assert_eq!(statistics(&guests[0].shared).ended(Cause::PeerLeft), 1);
    world.run(async {
        let mut buf = [0; 10];
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"last words");
    });
}
