//! Two guests on two processors: one runs in the middle of the other's suspend.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vmc::Mode;

use super::World;
use crate::account::Account;
use crate::frames::Frames;
use crate::guest::{Life, Wires};
use crate::network::{Network, Weather};
use crate::place::Places;
use crate::xen::{Clock, during};

impl World {
    /// Takes the last step before the suspend of the first guest; after so many
    /// accesses to shared memory the other one takes its own, or a turn.
    pub(super) fn race(&mut self, [first, other]: [usize; 2], access: u64, is_suspended: bool) {
        let now = self.now();
        let is_ready = |guest: usize| {
            let is_advance = self.scenario.guests[guest].mode == Mode::Advance;
            let guest = &self.guests[guest];
            is_advance && guest.life == Life::Running && self.paused[guest.number] <= now
        };
        if first == other || !is_ready(first) || !is_ready(other) {
            return;
        }
        let away = self.guests.remove(other);
        let first = first - usize::from(other < first);
        // Nobody else uses them meanwhile.
        let idle = Wires {
            clock: Clock::clone(&self.wires.clock),
            network: Network::new(Weather::FAIR, 0),
            frames: Frames::default(),
            places: Places::default(),
            account: Account::default(),
            log: Rc::clone(&self.wires.log),
        };
        let wires = std::mem::replace(&mut self.wires, idle);
        let processor = Rc::new(RefCell::new((away, wires)));
        let act = {
            let processor = Rc::clone(&processor);
            move || {
                let (guest, wires) = &mut *processor.borrow_mut();
                if is_suspended {
                    guest.vmc.freeze();
                } else {
                    guest.turn(wires);
                }
            }
        };
        let guest = &mut self.guests[first];
        // It does nothing else before it is suspended.
        guest.busy_until = now;
        let act = Rc::new(Cell::new(Some(act)));
        let in_between = Rc::clone(&act);
        let elsewhere = move || {
            if let Some(act) = in_between.take() {
                act();
            }
        };
        during([(access, Box::new(elsewhere) as Box<_>)], || {
            guest.vmc.freeze()
        });
        // The call may have had fewer accesses.
        if let Some(act) = act.take() {
            act();
        }
        drop(act);
        let Ok(processor) = Rc::try_unwrap(processor) else {
            unreachable!("the other processor is done");
        };
        let (mut away, mut wires) = processor.into_inner();
        if is_suspended {
            away.busy_until = now;
        }
        away.outputs(&mut wires);
        self.guests[first].outputs(&mut wires);
        self.wires = wires;
        self.guests.insert(other, away);
    }
}
