//! Connections between any two hosts of a world, at any of their addresses.

use core::net::SocketAddr;
use core::time::Duration;

use embassy_futures::select::{Either, select};
use embedded_io_async::{Read, Write};
use vmc::LinkCounters;

use super::TIMEOUT;
use crate::error::ConnectError;
use crate::options::TcpOptions;
use crate::tests::pattern;
use crate::tests::world::{Shared, TcpStream, World, join};

/// A connection, with the guest at each end.
pub(super) struct Meeting {
    pub(super) client: TcpStream,
    pub(super) served: TcpStream,
    guests: [Shared; 2],
}

/// Opens a connection from host `from` to host `to` at `at`.
pub(super) fn connect(
    world: &mut World,
    from: usize,
    to: usize,
    at: SocketAddr,
) -> Result<Meeting, ConnectError> {
    let guests = [from, to].map(|index| world.hosts[index].shared.clone());
    let options = TcpOptions::default();
    let mut listener = guests[1].listen(at.port(), 4, options).unwrap();
    let client = world.run(guests[0].connect(at, options, TIMEOUT))?;
    let served = world.run(listener.accept());
    Ok(Meeting {
        client,
        served,
        guests,
    })
}

/// The same, with bytes both ways and time for a link to come up between them.
pub(super) fn meet(world: &mut World, from: usize, to: usize, at: SocketAddr) -> Meeting {
    let mut meeting = match connect(world, from, to, at) {
        Ok(meeting) => meeting,
        Err(error) => panic!("host {from} to {at}: {error}"),
    };
    world.pass(Duration::from_millis(50));
    meeting.talk(world, 100);
    meeting
}

impl Meeting {
    /// Sends `len` bytes each way and compares them.
    pub(super) fn talk(&mut self, world: &mut World, len: usize) {
        say(world, &mut self.client, &mut self.served, len);
        say(world, &mut self.served, &mut self.client, len);
    }

    /// Whether everything that is written now goes by rings, both ways.
    pub(super) fn is_on_rings(&self) -> bool {
        let ends = [&self.client, &self.served];
        let mut ends = self.guests.iter().zip(ends);
        ends.all(|(guest, stream)| {
            guest.with(|stack| {
                let channel = stack.channel.as_ref().unwrap();
                let mut connections = channel.vmc.report().connections();
                connections.any(|(_, conn)| {
                    let ends = (conn.tuple.local, conn.tuple.remote);
                    let is_it = ends == (stream.local_addr(), stream.peer_addr());
                    is_it && conn.sends_by_ring && conn.receives_by_ring
                })
            })
        })
    }

    /// Closes both ends.
    pub(super) fn end(self, world: &mut World) {
        let (one, other) = world.run(join(self.client.close(), self.served.close()));
        one.unwrap();
        other.unwrap();
    }
}

fn say(world: &mut World, from: &mut TcpStream, to: &mut TcpStream, len: usize) {
    let data = pattern(len);
    let mut got = alloc::vec![0; len];
    let (sent, read) = world.run(join(from.write_all(&data), to.read_exact(&mut got)));
    sent.unwrap();
    read.unwrap();
    assert!(got == data);
}

/// Returns what a guest's only link has counted.
pub(super) fn link(shared: &Shared) -> LinkCounters {
    shared.with(|stack| {
        let channel = stack.channel.as_ref().unwrap();
        let mut links = channel.vmc.report().links();
        let (_, link) = links.next().expect("a link");
        assert!(links.next().is_none(), "one link joins two guests");
        link.counters
    })
}

/// Sends a datagram from host `from` to `at` on host `to`, and the answer.
pub(super) fn datagrams(world: &mut World, from: usize, to: usize, at: SocketAddr) {
    let [asker, answerer] = [from, to].map(|index| world.hosts[index].shared.clone());
    let question = asker.bind_udp(0).unwrap();
    let answer = answerer.bind_udp(at.port()).unwrap();
    let clock = world.clock.clone();
    world.run(async {
        let exchange = async {
            let mut buf = [0; 2000];
            question.send_to(&pattern(700), at).await.unwrap();
            let (len, back) = answer.recv_from(&mut buf).await.unwrap();
            answer.send_to(&buf[..len], back).await.unwrap();
            let (len, by) = question.recv_from(&mut buf).await.unwrap();
            assert_eq!((&buf[..len], by), (&pattern(700)[..], at));
        };
        let late = clock.sleep(Duration::from_secs(5));
        match select(exchange, late).await {
            Either::First(()) => {}
            Either::Second(()) => panic!("no answer from {at}"),
        }
    });
}
