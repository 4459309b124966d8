//! Residue on its way into TCP. The owner of the socket knows when it has room
//! and may call `service` then; if it does not, as when the application has
//! written its request and waits for the answer, a timer sees to it.

use alloc::vec::Vec;

use super::conn::{Fin, Path};
use super::view::Flow;
use crate::platform::Platform;
use crate::stream::{StreamEnd, Tcp};

impl<P: Platform> Flow<'_, P> {
    /// Puts residue into TCP, then closes TCP if the application has finished.
    pub(super) fn resend<T: Tcp>(&mut self, tcp: &mut T) -> Result<(), StreamEnd> {
        let sender = &mut self.conn.sender;
        if sender.path != Path::Residue {
            return Ok(());
        }
        let mut has_moved = false;
        while sender.resent < sender.residue.len() {
            let sent = tcp.send(&sender.residue[sender.resent..])?;
            if sent == 0 {
                let now = self.guest.platform.now();
                self.guest.resends.schedule(self.key, has_moved, now);
                return Ok(());
            }
            has_moved = true;
            sender.resent += sent;
        }
        sender.residue = Vec::new();
        sender.resent = 0;
        sender.path = Path::Tcp;
        if sender.fin == Fin::Wanted {
            sender.fin = Fin::Sent;
            tcp.close();
        }
        self.guest.resends.remove(self.key);
        self.wake_writer();
        Ok(())
    }
}
