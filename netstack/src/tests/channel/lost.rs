//! A peer that makes nothing of the frames it gets by its link: TCP's repetitions take netfront, so
//! connections open and close nevertheless.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::meeting::{connect, link, meet};
use crate::tests::world::{A4, B4, World};

fn at(index: usize, port: u16) -> SocketAddr {
    let address = [A4, B4][index];
    SocketAddr::new(IpAddr::V4(address), port)
}

#[test]
fn connections_open_and_close_beside_a_link_that_loses_everything() {
    for swallower in 0..2 {
        for from in 0..2 {
            let to = 1 - from;
            let mut world = World::new(170 + 2 * swallower as u64 + from as u64);
            world.share_memory_with(170, "vmc=advance");
            let first = meet(&mut world, 0, 1, at(1, 7));
            // On rings alone, with its FIN still to come.
            let mut second = meet(&mut world, from, to, at(to, 8));
            world.swallower = Some(swallower);
            let before = world.clock.now();
            let frames = link(&world.hosts[1 - swallower].shared).frames_sent;
            let mut third = match connect(&mut world, from, to, at(to, 9)) {
                Ok(meeting) => meeting,
                Err(error) => panic!("host {swallower} swallows, {from} connects: {error}"),
            };
            let took = world.clock.now() - before;
            assert!(took.secs() < 5, "a repetition or two, not {took}");
            third.talk(&mut world, 100_000);
            second.talk(&mut world, 100_000);
            assert!(second.is_on_rings() && third.is_on_rings());
            let before = world.clock.now();
            second.end(&mut world);
            third.end(&mut world);
            let took = world.clock.now() - before;
            assert!(took.secs() < 15, "repetitions of two FINs, not {took}");
            let now = link(&world.hosts[1 - swallower].shared).frames_sent;
            assert!(now > frames, "something was swallowed");
            world.pass(Duration::from_secs(60));
            for host in &world.hosts {
                let (sockets, resets) = host
                    .shared
                    .with(|stack| (stack.tcp.usage().0, stack.tcp.counters.linger_resets));
                assert_eq!((sockets, resets), (1, 0), "only the first is left");
            }
            drop(first);
        }
    }
}
