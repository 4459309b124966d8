//! What a hostile guest does. It runs the same `vmc` as the others, so it has
//! links, rings and connections; it spoils what it shares.

use std::rc::Rc;

use shared_memory::Memory;
use vmc::Platform;

use super::World;
use crate::frames::{Cargo, Ends};
use crate::network::Datagram;
use crate::place::mac;
use crate::scenario::Mischief;
use crate::xen::PAGE;

impl World {
    /// Turns a guest into a liar.
    pub(super) fn corrupt(&mut self, number: usize) {
        let keeps_mappings = self.random.u32(..3) == 0;
        let guest = &mut self.guests[number];
        guest.is_hostile = true;
        self.wires.frames.hostile.extend(&guest.addresses);
        let dom = guest.vmc.platform();
        let mut host = dom.host().borrow_mut();
        host.make_hostile(dom.domid(), &self.tamper, keeps_mappings);
    }

    pub(super) fn mischief(&mut self, mischief: Mischief) {
        let liar = self.guests.len() - 1;
        let dom = self.guests[liar].vmc.platform();
        let (domid, host) = (dom.domid(), Rc::clone(dom.host()));
        match mischief {
            Mischief::Scribble { words, low } => {
                let pages = host.borrow().shared_pages(domid);
                for _ in 0..words {
                    let Some(page) = self.random.choice(&pages) else {
                        return;
                    };
                    let last = if low { 0x500 } else { PAGE };
                    let offset = self.random.usize(..last / 8) * 8;
                    let old = page.load(offset);
                    let word = match self.random.u32(..5) {
                        0 => 0,
                        1 => u64::MAX,
                        2 => old.wrapping_add(self.random.u64(..5000)),
                        3 => old.wrapping_sub(self.random.u64(..5000)),
                        _ => self.random.u64(..),
                    };
                    page.store(offset, word);
                }
                host.borrow_mut().flood(domid);
            }
            Mischief::Tamper(one_in) => self.tamper.set(one_in),
            Mischief::Flood(times) => {
                for _ in 0..times {
                    host.borrow_mut().flood(domid);
                    for guest in 0..liar {
                        if self.guests[guest].wants(self.now()) {
                            self.guests[guest].turn(&mut self.wires);
                        }
                    }
                }
            }
            Mischief::Datagrams { count, spoofed } => {
                for _ in 0..count {
                    self.junk(liar, spoofed);
                }
            }
            Mischief::SpoofedFrame => {
                // The frame says that another guest sent it.
                let (Some(spoofed), Some(pair)) =
                    (self.pair([1, 0], [0; 2]), self.pair([liar, 0], [0; 2]))
                else {
                    return;
                };
                let ends = Ends {
                    macs: [mac(1), mac(0)],
                    addresses: [spoofed.local, spoofed.remote],
                };
                let (number, frame) = self.wires.frames.make(&ends, Cargo::Datagram, 200);
                self.wires.frames.refused(number);
                _ = self.guests[liar].send_frame(pair, &frame);
            }
        }
    }

    /// Sends a datagram that is noise, or almost valid.
    fn junk(&mut self, liar: usize, spoofed: bool) {
        let random = &mut self.random;
        let victim = random.usize(..liar);
        let len = [0, 8, 24, 40, 56, 64][random.usize(..6)];
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(len).collect();
        if random.u32(..4) != 0 && len >= 40 {
            bytes[..4].copy_from_slice(b"XVMC");
            bytes[4] = 2;
            bytes[5] = match len {
                40 => 4,
                56 => random.u8(2..4) * 3 - 3,
                _ => random.u8(1..3),
            };
            // Domains that exist, plausible references and ports.
            bytes[6..8].copy_from_slice(&random.u16(0..6).to_le_bytes());
            if random.bool() {
                // Somebody's UUID, as `World::boot` makes it.
                let other = random.usize(..=liar);
                let salt = fastrand::Rng::with_seed(self.scenario.seed ^ other as u64).u8(..);
                bytes[8..24].fill(0);
                (bytes[8], bytes[9], bytes[23]) = (salt, other as u8, 1);
            }
            if len == 64 {
                bytes[56..60].copy_from_slice(&self.random.u32(0..40).to_le_bytes());
                bytes[60..64].copy_from_slice(&self.random.u32(0..12).to_le_bytes());
            }
        }
        let claimed = if spoofed {
            (victim + 1) % self.guests.len()
        } else {
            liar
        };
        let Some(pair) = self.pair([claimed, victim], [0; 2]) else {
            return;
        };
        let datagram = Datagram {
            from: pair.local,
            to: pair.remote,
            origin: Some(liar),
            bytes,
        };
        self.wires.network.send(self.now(), &datagram);
    }
}
