//! Residue on its way into TCP. Whoever owns the socket knows when it has room
//! and may call `advance` then; a timer sees to it where nobody does, as for an
//! application that has written its request and waits for the answer.

use super::{Fin, Path};
use crate::channel::Vmc;
use crate::limits::{RESEND_AGAIN, RESEND_AGAIN_MOST};
use crate::platform::{Instant, Platform};
use crate::stream::{StreamEnd, Tcp};

/// A connection whose residue waits for room in TCP.
pub(crate) struct Resend {
    at: usize,
    due: Instant,
    wait: u64,
}

impl<P: Platform> Vmc<P> {
    /// Puts residue into TCP, then closes TCP if the application has finished.
    pub(crate) fn resend<T: Tcp>(&mut self, at: usize, tcp: &mut T) -> Result<(), StreamEnd> {
        let Some(conn) = self.conns.get_mut(at) else {
            return Ok(());
        };
        let sender = &mut conn.sender;
        if sender.path != Path::Residue {
            return Ok(());
        }
        let mut moved = false;
        while sender.resent < sender.residue.len() {
            let sent = tcp.send(&sender.residue[sender.resent..])?;
            if sent == 0 {
                self.resend_later(at, moved);
                return Ok(());
            }
            moved = true;
            sender.resent += sent;
        }
        sender.residue = alloc::vec::Vec::new();
        sender.resent = 0;
        sender.path = Path::Tcp;
        if sender.fin == Fin::Wanted {
            sender.fin = Fin::Sent;
            tcp.close();
        }
        self.resends.retain(|resend| resend.at != at);
        self.wake_writer(at);
        Ok(())
    }

    /// Tries again soon, and less often while nothing moves.
    fn resend_later(&mut self, at: usize, moved: bool) {
        let now = self.platform.now();
        let known = self.resends.iter().position(|resend| resend.at == at);
        let resend = match known {
            Some(index) => &mut self.resends[index],
            None => self.resends.push_mut(Resend {
                at,
                due: now,
                wait: RESEND_AGAIN,
            }),
        };
        resend.wait = match moved {
            true => RESEND_AGAIN,
            false => (2 * resend.wait).min(RESEND_AGAIN_MOST),
        };
        resend.due = now.after(resend.wait);
    }

    /// Asks for `advance` where it is due.
    pub(crate) fn resend_again(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(resend) = self.resends.get(index) {
            let (at, due) = (resend.at, resend.due);
            let waits = self
                .conns
                .get(at)
                .is_some_and(|conn| !conn.ended && conn.sender.path == Path::Residue);
            if !waits {
                self.resends.swap_remove(index);
            } else if now >= due {
                // `advance` sets the time of the next; this one, if there is none.
                self.resends[index].due = now.after(RESEND_AGAIN_MOST);
                self.want_advance(at);
                index += 1;
            } else {
                index += 1;
            }
        }
    }

    pub(crate) fn resend_at(&self) -> Option<Instant> {
        self.resends.iter().map(|resend| resend.due).min()
    }
}
