//! Wrong HELLOs: wrong claims, wrong proofs, too many of them.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use kernel::grant::{Access, Mapping};
use kernel::time;

use crate::link::{CLOSED, Link, OPEN};
use crate::wire::{Answer, HELLO, Hello, PORT, WELCOME};
use crate::{Outcome, Scene};

/// Longer than the victim keeps a region whose receiver does not prove its identity.
const UNPROVED: Duration = Duration::from_millis(1300);

/// The reason of a REFUSED: not co-resident.
const NOT_HERE: u16 = 1;

/// How long to wait for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(500);

/// Number of HELLOs in [`hello_flood`].
const HELLOS: usize = 3000;

/// Number of datagrams in [`hello_flood`] that do not belong to the protocol.
const JUNK: usize = 500;

/// Sends HELLOs that name other domains: no other domain may map what the victim grants.
pub(crate) async fn hello_domid(scene: &Scene) -> Outcome {
    let own = scene.welcome(&scene.hello()).await?;
    let (mut welcomed, mut refused) = (0, 0);
    // dom0, no domain, DOMID_SELF, DOMID_XEN, DOMID_INVALID, and one that is no domain number.
    for domid in [0, 30_000, 0x7ff0, 0x7ff2, 0x7ff4, 0xffff] {
        let hello = Hello {
            domid,
            ..scene.hello()
        };
        match scene.greet(&hello).await? {
            Answer::Refused(_) => refused += 1,
            Answer::Challenge(_) => return Err("a CHALLENGE was not enough".into()),
            Answer::Welcome(welcome) => {
                welcomed += 1;
                let mapped = Mapping::new(welcome.domid, &[welcome.reference], Access::ReadWrite);
                if mapped.is_ok() {
                    return Err(format!(
                        "what was granted to {domid} can be mapped by another"
                    ));
                }
            }
        }
    }
    let hello = Hello {
        domid: own.domid,
        ..scene.hello()
    };
    match scene.greet(&hello).await? {
        Answer::Refused(NOT_HERE) => {}
        other => return Err(format!("the victim's own domid was answered by {other:?}")),
    }
    time::sleep(UNPROVED).await;
    Ok(format!(
        "{welcomed} were welcomed in vain, {refused} refused"
    ))
}

/// Sends a wrong proof, and none at all.
pub(crate) async fn hello_proof(scene: &Scene) -> Outcome {
    let hello = scene.hello();
    let welcome = scene.welcome(&hello).await?;
    let link = Link::map(&hello, &welcome)?;
    let mut proof = welcome.nonce_b;
    proof[15] ^= 1;
    link.prove(&proof);
    link.wait_for_state(CLOSED).await?;
    drop(link);
    let hello = scene.hello();
    let welcome = scene.welcome(&hello).await?;
    let link = Link::map(&hello, &welcome)?;
    link.notify();
    link.wait_for_state(CLOSED).await?;
    Ok("both were turned away".into())
}

/// Makes a link under another guest's identity, then asks under its own and under the victim's.
pub(crate) async fn hello_uuid(scene: &Scene) -> Outcome {
    let hello = Hello {
        uuid: scene.other_uuid,
        ..scene.hello()
    };
    let welcome = scene.welcome(&hello).await?;
    let link = Link::map(&hello, &welcome)?;
    link.prove(&welcome.nonce_b);
    link.wait_for_state(OPEN).await?;
    // A domain has one identity at a time.
    match scene.greet(&scene.hello()).await? {
        Answer::Refused(NOT_HERE) => {}
        other => return Err(format!("another identity was answered by {other:?}")),
    }
    let hello = Hello {
        uuid: welcome.uuid,
        ..scene.hello()
    };
    if let Ok(answer) = scene.greet(&hello).await {
        return Err(format!("the victim's own UUID was answered by {answer:?}"));
    }
    link.set_state(CLOSED);
    Ok("the victim does not greet itself".into())
}

/// Sends thousands of HELLOs, each with another secret and identity, and meaningless datagrams. The
/// victim still makes a link afterwards.
pub(crate) async fn hello_flood(scene: &Scene) -> Outcome {
    for _ in 0..HELLOS {
        let hello = Hello {
            uuid: scene.nonce(),
            ..scene.hello()
        };
        scene.send(&hello.encode()).await?;
    }
    for number in 0..JUNK {
        let mut datagram: Vec<u8> = scene.hello().encode();
        match number % 5 {
            0 => datagram[4] = 1,
            1 => datagram[0] ^= 0x20,
            2 => datagram[5] = [0, WELCOME, 3, 4, 255][number / 5 % 5],
            3 => datagram.truncate(number % 40),
            _ => datagram.resize(41 + number, HELLO),
        }
        scene.send(&datagram).await?;
    }
    time::sleep(UNPROVED).await;
    let link = scene.link().await?;
    link.set_state(CLOSED);
    Ok(format!("{HELLOS} HELLOs, {JUNK} datagrams without meaning"))
}

/// Sends HELLOs to everybody, and from a port that is not the channel's: nobody answers.
pub(crate) async fn forged(scene: &Scene) -> Outcome {
    const ROUNDS: u32 = 200;
    let everybody = [
        IpAddr::from([255, 255, 255, 255]),
        IpAddr::from([10, 0, 0, 255]),
        IpAddr::from([224, 0, 0, 1]),
        IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]),
    ];
    let socket = scene.network.bind_udp(0);
    let socket = socket.map_err(|error| format!("another port: {error}"))?;
    let hello = scene.hello();
    for _ in 0..ROUNDS {
        for to in everybody {
            scene.send_to(to, &hello.encode()).await?;
        }
        let to = (scene.victim, PORT).into();
        let sent = socket.send_to(&hello.encode(), to).await;
        sent.map_err(|error| format!("from another port: {error}"))?;
    }
    let mut buffer = [0; 128];
    let silence = time::timeout(SILENCE, socket.recv_from(&mut buffer)).await;
    if let Ok(answer) = silence {
        return Err(format!("another port was answered: {answer:?}"));
    }
    if let Ok(answer) = time::timeout(SILENCE, scene.hear(&hello)).await {
        return Err(format!("a HELLO to everybody was answered: {answer:?}"));
    }
    let link = scene.link().await?;
    link.set_state(CLOSED);
    Ok(format!("{ROUNDS} times to everybody"))
}
