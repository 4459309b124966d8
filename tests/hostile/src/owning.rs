//! Links that this guest owns: it answers the honest guest's HELLO, and never opens what it offers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;

use kernel::event::EventChannel;
use kernel::grant::GrantedRegion;
use kernel::time;

use crate::link::{CLOSED, NONCE_A, OPEN, OWN_STATE, PROOF, REFERENCES};
use crate::wire::{Hello, Welcome};
use crate::{Outcome, Scene};

/// Pages of a link.
const PAGES: usize = 9;

/// Longer than the honest guest waits for the link to open.
const UNOPENED: Duration = Duration::from_millis(2500);

/// How long the honest guest may take until it greets: somebody has to make it connect.
const GREETING: Duration = Duration::from_secs(8);

/// How long the honest guest is connected again and must not greet again.
const SILENCE: Duration = Duration::from_millis(1500);

/// The interval between two looks at the mapper's state.
const LOOK: Duration = Duration::from_millis(2);

/// Offers the honest guest a link between each pair of addresses, one after the other, and opens
/// none: it has to give each back, and not to greet that address again.
///
/// Whoever makes it connect waits for the line about one address before it turns to the next: a
/// HELLO that waits here while another offer is under way would be too old to be answered.
pub(crate) async fn opens_none(scene: &Scene) -> Outcome {
    let offers = scene.victims().len();
    let mut given_back = Vec::new();
    while given_back.len() < offers {
        let heard = time::timeout(GREETING, scene.greeted(&given_back)).await;
        let (from, hello) = heard.map_err(|_| String::from("nobody greets"))??;
        scene.offer_in_vain(from, &hello).await?;
        log::info!("hostile: given back by {from}");
        given_back.push((from, hello.nonce));
    }
    if let Ok(heard) = time::timeout(SILENCE, scene.greeted(&given_back)).await {
        let (from, _) = heard?;
        return Err(format!("{from} greets too"));
    }
    Ok(format!("{offers} links were given back"))
}

impl Scene {
    /// Waits for a HELLO from an address that has not given a link back; returns it with its sender.
    /// The HELLO of one that has may come late a second time; a new one is an error.
    async fn greeted(&self, given_back: &[(IpAddr, [u8; 16])]) -> Result<(IpAddr, Hello), String> {
        let mut buffer = [0; 128];
        loop {
            let heard = self.socket.recv_from(&mut buffer).await;
            let (len, from) = heard.map_err(|error| format!("datagram: {error}"))?;
            let from = from.ip();
            let Some(hello) = Hello::decode(&buffer[..len]) else {
                continue;
            };
            match given_back.iter().find(|(address, _)| *address == from) {
                None => return Ok((from, hello)),
                Some((_, nonce)) if *nonce == hello.nonce => {}
                Some(_) => return Err(format!("{from} greets again, though nothing came of it")),
            }
        }
    }

    /// Grants a link region to the domain that says HELLO, and waits until it has given it back.
    async fn offer_in_vain(&self, to: IpAddr, hello: &Hello) -> Result<(), String> {
        let text = |error: &dyn core::fmt::Display| format!("link region: {error}");
        let region = GrantedRegion::new(hello.domid, PAGES).map_err(|error| text(&error))?;
        let port = EventChannel::alloc_unbound(hello.domid).map_err(|error| text(&error))?;
        let references = region.references().map_err(|error| text(&error))?;
        region.write(0, b"XVMCLINK");
        region.store_u64(8, 1, Ordering::Relaxed);
        region.write(NONCE_A, &hello.nonce);
        for (number, reference) in references[1..].iter().enumerate() {
            region.write(REFERENCES + 4 * number, &reference.to_le_bytes());
        }
        let welcome = Welcome {
            domid: self.domid,
            uuid: self.uuid,
            nonce_b: self.nonce(),
            reference: references[0],
            port: port.port().map_err(|error| text(&error))?,
        };
        self.send_to(to, &welcome.encode(hello.nonce)).await?;

        let state = || region.load_u64(OWN_STATE, Ordering::Acquire);
        let (deadline, mut is_proved) = (time::now() + UNOPENED, false);
        while state() != CLOSED {
            is_proved |= state() == OPEN;
            if time::now() >= deadline {
                return Err(format!("{to} waits without end, in state {}", state()));
            }
            time::sleep(LOOK).await;
        }
        let mut proof = [0; 16];
        region.read(PROOF, &mut proof);
        if !is_proved || proof != welcome.nonce_b {
            return Err(format!("{to} has not proved itself"));
        }
        time::sleep(LOOK).await;
        let revoked = region.revoke();
        revoked.map_err(|_| format!("{to} keeps the pages mapped"))
    }
}
