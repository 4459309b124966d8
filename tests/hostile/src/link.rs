//! A link as seen by its mapper: greeting, proof, messages, doorbells.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use alloc::{format, slice};
use core::net::IpAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;

use kernel::PAGE_SIZE;
use kernel::event::EventChannel;
use kernel::grant::{Access, Mapping};
use kernel::time;

use crate::Scene;
use crate::ring::{Consumer, Place, Producer};
use crate::wire::{self, Answer, Hello, Welcome};

// Offsets in the control page.
pub(crate) const NONCE_A: usize = 0x010;
pub(crate) const REFERENCES: usize = 0x020;
pub(crate) const PROOF: usize = 0x080;
pub(crate) const OWN_STATE: usize = 0x090;
const PEER_STATE: usize = 0x0c0;
pub(crate) const TO_OWNER: usize = 0x100;
pub(crate) const TO_MAPPER: usize = 0x200;
pub(crate) const OWNER_BELL: usize = 0x300;
const MAPPER_BELL: usize = 0x400;

// States of a side.
pub(crate) const OPEN: u64 = 1;
pub(crate) const CLOSED: u64 = 2;
pub(crate) const FROZEN: u64 = 3;

// Offsets in a doorbell.
const DATA: usize = 0x40;
const SPACE: usize = 0x80;

/// Data pages of a message ring.
const MESSAGE_PAGES: usize = 4;

/// How long the victim may take for anything that it should do at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How often to check shared memory if no event can be had.
const LOOK: Duration = Duration::from_millis(2);

/// A link with the victim, which owns its memory.
pub(crate) struct Link {
    pub(crate) memory: Mapping,
    pub(crate) port: EventChannel,
    pub(crate) domid: u16,
    pub(crate) out: Producer,
    pub(crate) inward: Consumer,
    inbox: Vec<u8>,
}

/// A message from the victim.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl Scene {
    /// Returns the claims of an honest HELLO of this guest.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            domid: self.domid,
            uuid: self.uuid,
            nonce: self.nonce(),
            cookie: [0; 16],
        }
    }

    pub(crate) fn nonce(&self) -> [u8; 16] {
        let mut nonce = [0; 16];
        kernel::random::fill(&mut nonce);
        nonce
    }

    /// Sends a HELLO repeatedly until it is answered, with the cookie once there is one.
    pub(crate) async fn greet(&self, hello: &Hello) -> Result<Answer, String> {
        self.greet_at(self.victim, hello).await
    }

    /// Greets the victim at one of its addresses.
    pub(crate) async fn greet_at(&self, at: IpAddr, hello: &Hello) -> Result<Answer, String> {
        let mut hello = *hello;
        for wait in [100, 200, 600, 600] {
            let deadline = time::now() + Duration::from_millis(wait);
            self.send_to(at, &hello.encode()).await?;
            loop {
                let left = deadline.saturating_duration_since(time::now());
                match time::timeout(left, self.hear(&hello)).await {
                    Err(_) => break,
                    Ok(Ok(Answer::Challenge(cookie))) if cookie != hello.cookie => {
                        hello.cookie = cookie;
                        self.send_to(at, &hello.encode()).await?;
                    }
                    Ok(Ok(Answer::Challenge(_))) => {}
                    Ok(answer) => return answer,
                }
            }
        }
        Err("HELLO was not answered".to_string())
    }

    /// Sends a datagram to the victim's channel.
    pub(crate) async fn send(&self, datagram: &[u8]) -> Result<(), String> {
        self.send_to(self.victim, datagram).await
    }

    /// Sends a datagram to the channel at any address.
    pub(crate) async fn send_to(&self, at: IpAddr, datagram: &[u8]) -> Result<(), String> {
        let to = (at, wire::PORT).into();
        let sent = self.socket.send_to(datagram, to).await;
        sent.map_err(|error| format!("datagram: {error}"))
    }

    /// Sends a HELLO to one of the victim's addresses until a CHALLENGE answers it; returns the
    /// HELLO with the cookie.
    pub(crate) async fn challenged(&self, at: IpAddr, hello: Hello) -> Result<Hello, String> {
        for _ in 0..3 {
            self.send_to(at, &hello.encode()).await?;
            let heard = time::timeout(Duration::from_millis(300), self.hear(&hello)).await;
            if let Ok(Ok(Answer::Challenge(cookie))) = heard {
                return Ok(Hello { cookie, ..hello });
            }
        }
        Err(format!("no CHALLENGE from {at}"))
    }

    /// Waits for an answer to a HELLO.
    pub(crate) async fn hear(&self, hello: &Hello) -> Result<Answer, String> {
        let mut buffer = [0; 128];
        loop {
            let heard = self.socket.recv_from(&mut buffer).await;
            let (len, _) = heard.map_err(|error| format!("datagram: {error}"))?;
            if let Some(answer) = hello.answer(&buffer[..len]) {
                return Ok(answer);
            }
        }
    }

    /// Sends a HELLO and returns the WELCOME that answers it.
    pub(crate) async fn welcome(&self, hello: &Hello) -> Result<Welcome, String> {
        self.welcome_at(self.victim, hello).await
    }

    pub(crate) async fn welcome_at(&self, at: IpAddr, hello: &Hello) -> Result<Welcome, String> {
        match self.greet_at(at, hello).await? {
            Answer::Welcome(welcome) => Ok(welcome),
            other => Err(format!("HELLO was answered by {other:?}")),
        }
    }

    /// Makes a link as an honest guest does, and waits until it is up.
    pub(crate) async fn link(&self) -> Result<Link, String> {
        self.link_as(self.hello()).await
    }

    pub(crate) async fn link_as(&self, hello: Hello) -> Result<Link, String> {
        self.link_at(self.victim, hello).await
    }

    /// Makes a link with the victim at one of its addresses.
    pub(crate) async fn link_at(&self, at: IpAddr, hello: Hello) -> Result<Link, String> {
        let welcome = self.welcome_at(at, &hello).await?;
        let link = Link::map(&hello, &welcome)?;
        link.prove(&welcome.nonce_b);
        link.wait_for_state(OPEN).await?;
        Ok(link)
    }
}

impl Link {
    /// Maps the pages that a WELCOME offers and binds its port.
    pub(crate) fn map(hello: &Hello, welcome: &Welcome) -> Result<Self, String> {
        let text = |error: &dyn core::fmt::Display| format!("link region: {error}");
        let map = |references: &[u32]| {
            Mapping::new(welcome.domid, references, Access::ReadWrite).map_err(|error| text(&error))
        };
        let control = map(slice::from_ref(&welcome.reference))?;
        let mut nonce = [0; 16];
        control.read(NONCE_A, &mut nonce);
        if nonce != hello.nonce {
            return Err("the control page shows another nonce".to_string());
        }
        let mut references = vec![welcome.reference];
        let others = (0..2 * MESSAGE_PAGES)
            .map(|index| control.load_u32(REFERENCES + 4 * index, Ordering::Relaxed));
        references.extend(others);
        drop(control);
        let memory = map(&references)?;
        let port = EventChannel::bind_interdomain(welcome.domid, welcome.port)
            .map_err(|error| text(&error))?;
        let place = |header, page: usize| Place {
            header,
            data: page * PAGE_SIZE,
            capacity: MESSAGE_PAGES * PAGE_SIZE,
            base: 0,
        };
        Ok(Self {
            memory,
            port,
            domid: welcome.domid,
            out: Producer::new(place(TO_OWNER, 1)),
            inward: Consumer::new(place(TO_MAPPER, 1 + MESSAGE_PAGES)),
            inbox: Vec::new(),
        })
    }

    /// Writes the proof and the state "open".
    pub(crate) fn prove(&self, nonce_b: &[u8; 16]) {
        self.memory.write(PROOF, nonce_b);
        self.set_state(OPEN);
    }

    pub(crate) fn set_state(&self, state: u64) {
        self.memory.store_u64(OWN_STATE, state, Ordering::Release);
        self.notify();
    }

    pub(crate) fn peer_state(&self) -> u64 {
        self.memory.load_u64(PEER_STATE, Ordering::Acquire)
    }

    /// Waits until the victim shows `state` as its own.
    pub(crate) async fn wait_for_state(&self, state: u64) -> Result<(), String> {
        self.wait_for_state_within(state, PATIENCE).await
    }

    pub(crate) async fn wait_for_state_within(
        &self,
        state: u64,
        patience: Duration,
    ) -> Result<(), String> {
        let deadline = time::now() + patience;
        while self.peer_state() != state {
            if time::now() >= deadline {
                let now = self.peer_state();
                return Err(format!("the victim's state is {now} and not {state}"));
            }
            time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Nothing can be done if the victim has closed its end.
    pub(crate) fn notify(&self) {
        let _ = self.port.notify();
    }

    /// Rings the doorbell for messages, written or taken.
    pub(crate) fn ring_messages(&self) {
        self.memory.fetch_or_u64(OWNER_BELL, 1);
        self.notify();
    }

    /// Rings the doorbell for bytes in a ring of our own.
    pub(crate) fn ring_data(&self, ring: u16) {
        self.ring_bit(DATA, 8, ring);
    }

    /// Rings the doorbell for room in a ring of the victim.
    pub(crate) fn ring_space(&self, ring: u16) {
        self.ring_bit(SPACE, 16, ring);
    }

    fn ring_bit(&self, words: usize, summary: usize, ring: u16) {
        let word = usize::from(ring) / 64;
        let at = OWNER_BELL + words + 8 * word;
        self.memory.fetch_or_u64(at, 1 << (ring % 64));
        self.memory.fetch_or_u64(OWNER_BELL, 1 << (summary + word));
        self.notify();
    }

    /// Clears our own doorbell; this guest then checks everything, whatever it was rung for.
    fn answer(&self) {
        self.memory.swap_u64(MAPPER_BELL, 0);
        for word in 0..8 {
            self.memory.swap_u64(MAPPER_BELL + DATA + 8 * word, 0);
            self.memory.swap_u64(MAPPER_BELL + SPACE + 8 * word, 0);
        }
    }

    /// Waits for an event, or briefly.
    pub(crate) async fn event(&self) {
        // Without an event the caller checks all the same.
        let _ = time::timeout(LOOK, self.port.wait()).await;
        self.answer();
    }

    /// Sends bytes, whether or not they are a message, waiting for room as needed.
    pub(crate) async fn post(&mut self, bytes: &[u8]) -> Result<(), String> {
        let deadline = time::now() + PATIENCE;
        let mut rest = bytes;
        loop {
            let (count, due) = self.out.write(&self.memory, rest);
            if due {
                self.ring_messages();
            }
            rest = &rest[count..];
            if rest.is_empty() {
                return Ok(());
            }
            if self.peer_state() == CLOSED || time::now() >= deadline {
                return Err("the victim takes no messages".to_string());
            }
            self.out.wish(&self.memory);
            self.event().await;
        }
    }

    /// Returns the next message, if one has arrived.
    pub(crate) fn take(&mut self) -> Result<Option<Message>, String> {
        let mut buffer = [0; 2048];
        loop {
            let (count, due) = self.inward.read(&self.memory, &mut buffer);
            if due {
                self.ring_messages();
            }
            self.inbox.extend_from_slice(&buffer[..count]);
            if count == 0 {
                break;
            }
        }
        let Some(&[kind, zero, low, high]) = self.inbox.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = usize::from(u16::from_le_bytes([low, high]));
        if zero != 0 || len > 2048 {
            return Err(format!(
                "the victim's message begins with {kind} {zero} {len}"
            ));
        }
        if self.inbox.len() < 4 + len {
            return Ok(None);
        }
        let payload = self.inbox[4..4 + len].to_vec();
        self.inbox.drain(..4 + len);
        Ok(Some(Message { kind, payload }))
    }

    /// Waits for a message of this kind and skips others.
    pub(crate) async fn expect(&mut self, kind: u8) -> Result<Vec<u8>, String> {
        let deadline = time::now() + PATIENCE;
        loop {
            while let Some(message) = self.take()? {
                if message.kind == kind {
                    return Ok(message.payload);
                }
            }
            if time::now() >= deadline {
                return Err(format!("no message of kind {kind} came"));
            }
            if !self.inward.wish(&self.memory) {
                self.event().await;
            }
        }
    }

    /// Sends bytes that the victim must not tolerate: it has to close the link.
    pub(crate) async fn offend(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.post(bytes).await?;
        self.wait_for_state(CLOSED).await
    }
}
