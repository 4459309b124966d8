//! Attacks on the means by which a link carries messages: the control page, the message rings, the
//! doorbell.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use kernel::{PAGE_SIZE, time};

use crate::link::{CLOSED, Link, OWNER_BELL};
use crate::ring::{HEAD, TAIL};
use crate::talk::offer;
use crate::wire::{self, CONFIRM, Ends, FRAME, message, u16_at};
use crate::{Outcome, Scene};

/// Reasons of a CONFIRM.
const NO_CONNECTION: u16 = 1;
const WRONG_ADDRESS: u16 = 4;

/// Capacity of a message ring in bytes.
const CAPACITY: u64 = 4 * PAGE_SIZE as u64;

/// Number of SWITCHes whose answers fill the unread ring …
const FILL: usize = 1200;
/// … and the victim's backlog as well.
const OVERFILL: usize = 6000;

/// How long to ring the victim's doorbell without a reason.
const RINGING: Duration = Duration::from_secs(3);

/// Slightly longer than the victim tolerates a peer that takes no messages.
const STUCK: Duration = Duration::from_secs(8);

/// Returns the ends of a connection that does not exist.
pub(crate) fn nowhere(scene: &Scene, sender: IpAddr) -> Ends {
    Ends {
        sender: SocketAddr::new(sender, 9),
        receiver: SocketAddr::new(scene.victim, 9),
    }
}

/// Returns this guest's own address.
pub(crate) fn own_address(scene: &Scene) -> Result<IpAddr, String> {
    let mut addresses = scene.network.addresses().into_iter();
    let found = addresses.find(|(address, _)| address.is_ipv4());
    Ok(found.ok_or("no address")?.0)
}

/// Sends a SWITCH to ring 0 for a connection that does not exist, and returns the reason in its
/// answer.
pub(crate) async fn ask(link: &mut Link, ends: Ends) -> Result<Option<u16>, String> {
    link.post(&wire::switch(0, ends, 0)).await?;
    let answer = link.expect(CONFIRM).await?;
    Ok(u16_at(&answer, 2))
}

/// Overwrites the control page with bytes that are invalid everywhere.
pub(crate) async fn control_page(scene: &Scene) -> Outcome {
    const ROUNDS: u8 = 4;
    for round in 0..ROUNDS {
        let link = scene.link().await?;
        let mut page = vec![0xff; PAGE_SIZE];
        if round > 0 {
            kernel::random::fill(&mut page);
        }
        link.memory.write(0, &page);
        link.ring_messages();
        link.wait_for_state(CLOSED).await?;
    }
    Ok(format!("{ROUNDS} times"))
}

/// Lies about the indices of both message rings.
pub(crate) async fn message_indices(scene: &Scene) -> Outcome {
    // More than the ring holds.
    let link = scene.link().await?;
    link.out.place.store(&link.memory, TAIL, CAPACITY + 1);
    link.ring_messages();
    link.wait_for_state(CLOSED).await?;
    drop(link);
    // Moving back, after an honest message.
    let own = own_address(scene)?;
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 0).await?;
    ask(&mut link, nowhere(scene, own)).await?;
    link.out.place.store(&link.memory, TAIL, 4);
    link.ring_messages();
    link.wait_for_state(CLOSED).await?;
    drop((link, ring));
    // As the consumer: more taken than was written. The victim notices when room is short.
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 0).await?;
    link.inward.place.store(&link.memory, HEAD, u64::MAX / 2);
    for _ in 0..FILL {
        if link.peer_state() == CLOSED {
            break;
        }
        link.post(&wire::switch(0, nowhere(scene, own), 0)).await?;
    }
    link.wait_for_state(CLOSED).await?;
    drop((link, ring));
    Ok("tail beyond, tail back, head beyond".into())
}

/// Sends invalid messages, each of which ends a link.
pub(crate) async fn malformed(scene: &Scene) -> Outcome {
    let own = own_address(scene)?;
    let ends = nowhere(scene, own);
    let mut switch_short = wire::switch(0, ends, 0);
    switch_short[2] -= 1;
    let mut switch_family = wire::switch(0, ends, 0);
    switch_family[8] = 5;
    let references = [1; 5];
    let cases: [Vec<u8>; 28] = [
        message(0, &[]),
        message(11, &[]),
        message(255, &[1; 100]),
        vec![10, 1, 2, 0, 1, 0],
        vec![1, 0, 1, 8],
        vec![1, 0, 255, 255],
        message(FRAME, &[]),
        message(FRAME, &[0; 1515]),
        message(2, &[]),
        wire::ring(512, 2, &references),
        wire::ring(0, 2, &references[..4]),
        wire::ring(0, 200, &references),
        wire::switch(3, ends, 0),
        switch_short,
        switch_family,
        wire::confirm(7, 0, 0),
        message(5, &[0, 2, 0, 0]),
        message(6, &[0; 12]),
        message(7, &[0, 2]),
        message(8, &[0, 0]),
        message(9, &[0; 36]),
        wire::leave(99),
        message(14, &[4; 51]),
        message(14, &[0; 52]),
        message(15, &[4; 67]),
        message(15, &[5; 68]),
        message(16, &[7; 20]),
        message(17, &[]),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        let mut link = scene.link().await?;
        let offended = link.offend(bytes).await;
        offended.map_err(|why| format!("message {number}, kind {}: {why}", bytes[0]))?;
    }
    // A FALLBACK of a ring that is gone may have crossed the end of that ring. It is no offence.
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 0).await?;
    link.post(&message(5, &[9, 0, 0, 0])).await?;
    let reason = ask(&mut link, ends).await?;
    if reason != Some(NO_CONNECTION) {
        return Err(format!(
            "after a FALLBACK a SWITCH was answered by {reason:?}"
        ));
    }
    // Random bytes in place of messages.
    let mut junk = vec![0; 4096];
    kernel::random::fill(&mut junk);
    junk[1] = 1;
    link.offend(&junk).await?;
    drop(ring);
    Ok(format!("{} links", cases.len() + 1))
}

/// Rings every bit of the doorbell repeatedly, but not too often: the victim checks each, and
/// nothing happens.
pub(crate) async fn doorbell(scene: &Scene) -> Outcome {
    const ROUNDS: usize = 200;
    let own = own_address(scene)?;
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 0).await?;
    for _ in 0..ROUNDS {
        for word in (0..0x100).step_by(8) {
            link.memory.fetch_or_u64(OWNER_BELL + word, u64::MAX);
        }
        link.notify();
        time::sleep(Duration::from_millis(2)).await;
    }
    let reason = ask(&mut link, nowhere(scene, own)).await?;
    if reason != Some(NO_CONNECTION) {
        return Err(format!("afterwards a SWITCH was answered by {reason:?}"));
    }
    link.set_state(CLOSED);
    drop(ring);
    Ok(format!("{ROUNDS} rounds"))
}

/// Sends endless notifications: the victim ends the link, or they are too few to matter.
pub(crate) async fn notifications(scene: &Scene) -> Outcome {
    let link = scene.link().await?;
    let end = time::now() + RINGING;
    let mut sent = 0_u64;
    while link.peer_state() != CLOSED && time::now() < end {
        link.notify();
        sent += 1;
        // The victim has to run in between, or many notifications merge into one. On a host with
        // one processor that limits them to fewer than the victim considers a flood; then it
        // tolerates them.
        if sent % 64 < 32 {
            time::sleep(Duration::from_nanos(1)).await;
        }
    }
    link.set_state(CLOSED);
    Ok(format!("{sent} notifications"))
}

/// Leaves the victim's answers unread: first as many as the ring holds, then more than its backlog.
pub(crate) async fn unread(scene: &Scene) -> Outcome {
    let own = own_address(scene)?;
    for count in [FILL, OVERFILL] {
        let mut link = scene.link().await?;
        let ring = offer(&mut link, 0, 0).await?;
        for _ in 0..count {
            if link.peer_state() == CLOSED {
                break;
            }
            if let Err(why) = link.post(&wire::switch(0, nowhere(scene, own), 0)).await
                && link.peer_state() != CLOSED
            {
                return Err(why);
            }
        }
        link.wait_for_state_within(CLOSED, STUCK).await?;
        drop((link, ring));
    }
    Ok("the ring, and the backlog".into())
}

/// Tells of thousands of guests that there are none of, of the honest guest and of the victim.
pub(crate) async fn members(scene: &Scene) -> Outcome {
    const MEMBERS: u32 = 5000;
    let own = own_address(scene)?;
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 0).await?;
    for number in 0..MEMBERS {
        let event = (1 + number % 5) as u8;
        let (uuid, address) = match number % 7 {
            0 => (scene.other_uuid, scene.other),
            1 => (scene.uuid, scene.victim),
            _ => (scene.nonce(), IpAddr::from(number.to_be_bytes())),
        };
        link.post(&wire::member(event, uuid, address)).await?;
    }
    let reason = ask(&mut link, nowhere(scene, own)).await?;
    if reason != Some(NO_CONNECTION) {
        return Err(format!("afterwards a SWITCH was answered by {reason:?}"));
    }
    link.set_state(CLOSED);
    drop(ring);
    Ok(format!("{MEMBERS} messages"))
}

/// Uses another guest's address, in a SWITCH and in frames. The link stays.
pub(crate) async fn wrong_address(scene: &Scene) -> Outcome {
    let own = own_address(scene)?;
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 0).await?;
    // A connection of the other guest as well: the test's honest guest has one at some port.
    for port in [9, 7, 4242] {
        let mut ends = nowhere(scene, scene.other);
        ends.receiver.set_port(port);
        let reason = ask(&mut link, ends).await?;
        if reason != Some(WRONG_ADDRESS) {
            return Err(format!("a SWITCH for another was answered by {reason:?}"));
        }
    }
    for frame in [
        ipv4(scene.other, scene.victim),
        arp(scene.other, scene.victim),
    ] {
        link.post(&message(FRAME, &frame)).await?;
    }
    // Too short for any header.
    for len in [1, 13, 14, 20, 29] {
        link.post(&message(FRAME, &ipv4(own, scene.victim)[..len]))
            .await?;
    }
    let reason = ask(&mut link, nowhere(scene, own)).await?;
    if reason != Some(NO_CONNECTION) {
        return Err(format!("afterwards a SWITCH was answered by {reason:?}"));
    }
    link.set_state(CLOSED);
    drop(ring);
    Ok("3 SWITCHes, 7 frames".into())
}

fn octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(ipv4) => ipv4.octets(),
        IpAddr::V6(_) => [0; 4],
    }
}

/// Makes an Ethernet frame with a datagram to port 7, checksums left blank.
fn ipv4(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame.extend_from_slice(&[0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend_from_slice(&octets(from));
    frame.extend_from_slice(&octets(to));
    frame.extend_from_slice(&[0, 9, 0, 7, 0, 12, 0, 0, 1, 2, 3, 4]);
    frame
}

/// Makes an ARP reply that claims that `from` is at this guest's invented Ethernet address.
fn arp(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x08, 0x06]);
    frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1]);
    frame.extend_from_slice(&octets(from));
    frame.extend_from_slice(&[0xff; 6]);
    frame.extend_from_slice(&octets(to));
    frame
}
