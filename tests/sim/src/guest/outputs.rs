//! Carries out what the channel asks for.

use std::rc::Rc;

use vmc::{Output, Vmc};

use super::{Guest, Linked, Wires};
use crate::endpoint::Endpoint;
use crate::frames::{Arrival, Cargo};
use crate::xen::Dom;

/// How long after an address has changed hands datagrams to it may get lost.
const GRACE: u64 = 10_000_000_000;

impl Guest {
    /// Carries out what the channel asks for, until it asks for nothing.
    pub(crate) fn outputs(&mut self, wires: &mut Wires) {
        let now = wires.clock.get();
        while let Some(output) = self.vmc.output() {
            self.outputs_done += 1;
            wires.log.note(|| match &output {
                Output::Frame(frame) => format!("g{}: a frame of {}", self.number, frame.len()),
                output => format!("g{}: {output:?}", self.number),
            });
            match output {
                Output::Datagram { pair, bytes } => self.send(pair, bytes, wires),
                Output::Frame(mut frame) => {
                    // As netstack does: the sender may see a router where this
                    // guest is.
                    if let Some(destination) = frame.get_mut(..6) {
                        destination.copy_from_slice(&self.mac());
                    }
                    if !self.is_hostile {
                        self.frame(&frame, wires);
                    }
                }
                Output::Readable(id) => self.with(id, |endpoint, _| endpoint.wake_reader()),
                Output::Writable(id) => self.with(id, |endpoint, _| endpoint.wake_writer()),
                Output::Service(id) => self.with(id, |endpoint, vmc| endpoint.advance(vmc, now)),
                Output::Failed(id) => {
                    let log = Rc::clone(&wires.log);
                    self.with(id, |endpoint, _| endpoint.failed(&log, now));
                }
                Output::LinkUp { pair } => {
                    self.linked.push(Linked { at: now, pair });
                    wires.account.link(self.number, pair.remote);
                    for endpoint in &mut self.endpoints {
                        if endpoint.pair() == pair && endpoint.id.is_none() {
                            endpoint.track(&mut self.vmc, &wires.log);
                            endpoint.wake_writer();
                        }
                    }
                }
                Output::PairDown { pair } => {
                    for endpoint in &mut self.endpoints {
                        if endpoint.pair() == pair {
                            endpoint.send_by_network();
                        }
                    }
                }
                Output::LinkDown { .. } | Output::Member(_) | Output::Migration { .. } => {}
            }
        }
    }

    fn with(&mut self, id: vmc::ConnKey, then: impl FnOnce(&mut Endpoint, &mut Vmc<Dom>)) {
        let mut endpoints = self.endpoints.iter_mut();
        if let Some(endpoint) = endpoints.find(|endpoint| endpoint.id == Some(id)) {
            then(endpoint, &mut self.vmc);
        }
    }

    /// Takes a frame that came out of a link, as smoltcp does.
    fn frame(&mut self, frame: &[u8], wires: &mut Wires) {
        let now = wires.clock.get();
        let (number, mac) = (self.number, self.mac());
        match wires.frames.arrive(number, mac, &self.addresses, frame) {
            Ok(Arrival::Taken(Cargo::Segment { tcp, side, id })) => {
                tcp.borrow_mut().arrive_by_link(side, id, now);
            }
            Ok(Arrival::Dropped { why, is_datagram }) => {
                wires.log.note(|| format!("g{number} drops a frame: {why}"));
                if is_datagram && now > wires.places.changed_at + GRACE {
                    wires.log.violation(|| {
                        format!("a datagram that took the link to g{number} vanished: {why}")
                    });
                }
            }
            Ok(Arrival::Taken(Cargo::Datagram) | Arrival::Hostile) => {}
            Err(what) => wires.log.violation(|| format!("g{number}: {what}")),
        }
    }
}
