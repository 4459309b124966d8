//! How the channel starts, and when its task runs.

use core::time::Duration;

use embedded_io_async::{Read, Write};

use super::{connected, round_trip, statistics};
use crate::options::TcpOptions;
use crate::tests::pattern;
use crate::tests::world::{World, join};

/// Times that the channels' tasks have run.
fn polls(world: &World) -> [usize; 2] {
    [0, 1].map(|index| world.hosts[index].channel.as_ref().unwrap().polls)
}

#[test]
fn off_means_that_there_is_no_channel() {
    let mut world = World::new(40);
    world.share_memory_with(40, "vmc=off");
    assert!(round_trip(&mut world, b"over TCP", TcpOptions::default()) == b"over TCP");
    for host in &world.hosts {
        assert!(host.channel.is_none());
        assert!(host.shared.with(|stack| stack.channel.is_none()));
    }
}

#[test]
fn both_modes_share_memory() {
    for mode in ["vmc=original", "vmc=advance"] {
        let mut world = World::new(41);
        world.share_memory_with(41, mode);
        let data = pattern(100_000);
        assert!(round_trip(&mut world, &data, TcpOptions::default()) == data);
        assert_eq!(statistics(&world.a()).upgrades, 1, "{mode}");
    }
}

/// A link in use is looked after four times a second, which tells the peer nothing.
#[test]
fn an_idle_channel_only_looks_after_its_link() {
    let mut world = World::new(42);
    world.share_memory(42);
    let (client, served) = connected(&mut world, 7, TcpOptions::default());
    world.pass(Duration::from_secs(60));
    let rung = |world: &World| world.machine.as_ref().unwrap().host.borrow().notifications;
    let before = (polls(&world), rung(&world), world.carried);
    world.pass(Duration::from_secs(600));
    let after = polls(&world);
    for (before, after) in before.0.into_iter().zip(after) {
        let looks = after - before;
        assert!((1..=2401).contains(&looks), "{looks} looks in 600 s");
    }
    assert_eq!((rung(&world), world.carried), (before.1, before.2));
    drop((client, served));
}

/// Nobody answers: the greeting is repeated by the task's timer, and not for ever.
#[test]
fn timers_run_the_task_until_there_is_nothing_to_wait_for() {
    let mut world = World::new(43);
    world.share_memory_alone(43, "vmc=advance");
    let mut runs = [0; 2];
    world.pass(Duration::from_millis(1));
    let polls = |world: &World| world.hosts[0].channel.as_ref().unwrap().polls;
    world.a().with(|stack| {
        let channel = stack.channel.as_mut().unwrap();
        channel.greet(crate::tests::world::PAIR);
    });
    for run in &mut runs {
        let before = polls(&world);
        world.pass(Duration::from_secs(300));
        *run = polls(&world) - before;
    }
    assert!((2..50).contains(&runs[0]), "{runs:?}");
    assert_eq!(runs[1], 0);
}

/// What is written before the task runs notifies the peer once.
#[test]
fn a_batch_of_writes_notifies_once() {
    let mut world = World::new(44);
    world.share_memory(44);
    let (mut client, mut served) = connected(&mut world, 7, TcpOptions::default());
    world.pass(Duration::from_millis(10));
    let before = statistics(&world.a()).notifications;
    world.run(async {
        let reader = async {
            let mut buf = [0; 9];
            served.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"abcdefghi");
        };
        let writer = async {
            for piece in [b"abc", b"def", b"ghi"] {
                client.write_all(piece).await.unwrap();
            }
        };
        join(reader, writer).await
    });
    assert_eq!(statistics(&world.a()).notifications, before + 1);
}
