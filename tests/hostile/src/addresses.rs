//! Attacks on the addresses of a link: ADDRESS, PROVED and LOST, and further addresses.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use crate::link::{CLOSED, Link};
use crate::messages::{ask, nowhere, own_address};
use crate::talk::{Talk, ends, offer, pattern, receive, send};
use crate::wire::{self, ADDRESS, Answer, CONFIRM, Hello, LEAVE, Pair, u16_at};
use crate::{Outcome, Scene};

// Reasons of a CONFIRM.
const FALLBACK: u16 = 0;
const NO_CONNECTION: u16 = 1;
const WRONG_ADDRESS: u16 = 4;

/// The reason of a REFUSED: not co-resident.
const NOT_HERE: u16 = 1;

/// The answer to a LEAVE.
const ANSWERED: u16 = 4;

/// Fails if the victim does not take the link's messages any more.
async fn serves(link: &mut Link, scene: &Scene, own: IpAddr) -> Result<(), String> {
    match ask(link, nowhere(scene, own)).await? {
        Some(NO_CONNECTION) => Ok(()),
        reason => Err(format!("a SWITCH was answered by {reason:?}")),
    }
}

/// Sends ADDRESS and PROVED with secrets that are wrong, LOST of addresses of others, and at last of
/// its own: the victim leaves the link then.
pub(crate) async fn addresses(scene: &Scene) -> Outcome {
    const ROUNDS: usize = 500;
    let own = own_address(scene)?;
    let pairs = [
        (own, scene.victim),
        (scene.other, scene.victim),
        (own, scene.other),
    ]
    .map(|(sender, receiver)| Pair { sender, receiver });
    let mut link = scene.link().await?;
    let ring = offer(&mut link, 0, 0).await?;
    for _ in 0..ROUNDS {
        for pair in pairs {
            link.post(&wire::got_hello(pair, scene.nonce())).await?;
            let proved = wire::proved(pair, scene.nonce(), scene.nonce());
            link.post(&proved).await?;
        }
        for address in [scene.other, scene.victim] {
            link.post(&wire::lost(address)).await?;
        }
    }
    serves(&mut link, scene, own).await?;
    link.post(&wire::lost(own)).await?;
    link.expect(LEAVE).await?;
    link.post(&wire::leave(ANSWERED)).await?;
    link.set_state(CLOSED);
    link.wait_for_state(CLOSED).await?;
    drop(ring);
    Ok(format!("{ROUNDS} times for {} pairs", pairs.len()))
}

/// Adds a pair of addresses while a connection between another has bytes on rings, and loses it
/// again; claims in between what belongs to others.
pub(crate) async fn dual_stack(scene: &Scene) -> Outcome {
    const CHUNK: usize = 3000;
    let [at, third] = scene.victim6;
    let mut first = scene.talk().await?;
    // Both before the pair is proved: a victim that has a link answers a SYN through it.
    let refused_stream = scene.connect_at(at).await?;
    let stream = scene.connect_at(at).await?;
    let own = stream.local_addr().ip();
    let hello = scene.challenged(at, scene.hello()).await?;
    scene.send_to(at, &hello.encode()).await?;
    let payload = first.link.expect(ADDRESS).await?;
    let pair = Pair {
        sender: at,
        receiver: own,
    };
    // The header of a message has 4 bytes.
    if wire::got_hello(pair, hello.nonce).get(4..) != Some(&payload[..]) {
        return Err(format!("ADDRESS says {payload:?}"));
    }
    let pair = Pair {
        sender: own,
        receiver: at,
    };
    // A cookie that is wrong adds nothing.
    let wrong = wire::proved(pair, hello.nonce, scene.nonce());
    first.link.post(&wrong).await?;
    let ring = offer(&mut first.link, 1, 0).await?;
    let switch = wire::switch(1, ends(&refused_stream), 0);
    first.link.post(&switch).await?;
    let refused = first.link.expect(CONFIRM).await?;
    if u16_at(&refused, 2) != Some(WRONG_ADDRESS) {
        return Err(format!("an address not proved was answered by {refused:?}"));
    }
    first.write(&pattern(100, CHUNK)).await?;

    // The right one does, and bytes of both connections take the link.
    let proved = wire::proved(pair, hello.nonce, hello.cookie);
    first.link.post(&proved).await?;
    let Talk {
        link,
        stream: stream4,
        own: own4,
        theirs: theirs4,
    } = first;
    let second = Talk::begin_with(link, stream, 2).await?;
    let Talk {
        mut link,
        mut stream,
        own: own6,
        theirs: theirs6,
    } = second;

    // It goes with the address, the other connection does not.
    link.post(&wire::lost(own)).await?;
    let confirmed = link.expect(CONFIRM).await?;
    if u16_at(&confirmed, 0) != Some(own6.number) {
        return Err(format!("LOST was answered by {confirmed:?}"));
    }
    let head = theirs6.end.head;
    let back = wire::confirm(theirs6.number, FALLBACK, head);
    link.post(&back).await?;
    drop(theirs6);
    send(&mut stream, 100, CHUNK).await?;
    receive(&mut stream, 100, CHUNK).await?;
    let mut first = Talk {
        link,
        stream: stream4,
        own: own4,
        theirs: theirs4,
    };
    first.expect_echo(100, CHUNK).await?;

    claims(scene, third).await?;
    let offset = 100 + CHUNK as u64;
    first.write(&pattern(offset, CHUNK)).await?;
    first.expect_echo(offset, CHUNK).await?;
    first.link.set_state(CLOSED);
    drop((ring, own6, refused_stream));
    Ok("an address more and an address less".into())
}

/// Claims the identity of the honest guest, its domain, and both.
async fn claims(scene: &Scene, at: IpAddr) -> Result<(), String> {
    let own = scene.hello();
    let wrong = [
        Hello {
            uuid: scene.other_uuid,
            ..own
        },
        Hello {
            domid: scene.other_domid,
            ..own
        },
    ];
    for hello in wrong {
        match scene.greet_at(at, &hello).await? {
            Answer::Refused(NOT_HERE) => {}
            other => return Err(format!("a false claim was answered by {other:?}")),
        }
    }
    // The honest guest is asked, who knows nothing of it.
    let hello = Hello {
        domid: scene.other_domid,
        uuid: scene.other_uuid,
        ..scene.hello()
    };
    match scene.greet_at(at, &hello).await {
        Err(_) => Ok(()),
        Ok(answer) => Err(format!("in another's name: {answer:?}")),
    }
}
