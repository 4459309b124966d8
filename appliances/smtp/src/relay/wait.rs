//! Which time-out applies (RFC 5321 4.5.3.2), and what happens at its end.

use super::{Hop, Log, Phase, Relay, Wait};
use crate::client::{Failure, Stage};
use crate::replies;

impl Relay {
    /// Returns how long the present wait may last; `None` once the session is over.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        if self.is_finished() {
            return None;
        }
        let phase = self.phase();
        let timeouts = &self.config.timeouts;
        let limit = match phase {
            Phase::ClientCommand => timeouts.client_command,
            Phase::Message => timeouts.message_block,
            Phase::HopConnect => timeouts.hop_connect,
            Phase::HopGreeting => timeouts.hop_greeting,
            Phase::HopCommand => timeouts.hop_command,
            Phase::HopData => timeouts.hop_data,
            Phase::HopFinal => timeouts.hop_final,
            Phase::Closing => timeouts.closing,
        };
        let answers = match &self.hop {
            Hop::Up(client) => client.answers(),
            Hop::None | Hop::Connecting => 0,
        };
        let sent = (self.forwarded / 512) as u32;
        let round = self
            .server
            .progress()
            .wrapping_add(answers)
            .wrapping_add(sent);
        Some(Wait {
            phase,
            round,
            limit,
        })
    }

    fn phase(&self) -> Phase {
        if self.server.is_closing() {
            return Phase::Closing;
        }
        if self.server.in_message() {
            return Phase::Message;
        }
        if self.server.waiting().is_none() {
            return Phase::ClientCommand;
        }
        match &self.hop {
            Hop::None | Hop::Connecting => Phase::HopConnect,
            Hop::Up(client) => match client.stage() {
                Stage::Greeting => Phase::HopGreeting,
                Stage::Data => Phase::HopData,
                Stage::Final => Phase::HopFinal,
                _ => Phase::HopCommand,
            },
        }
    }

    /// Acts on a wait that lasted longer than [`Wait::limit`].
    pub fn timed_out(&mut self) {
        match self.phase() {
            // Bytes that the next hop has not taken are its delay.
            Phase::Message if self.server.is_streaming() && !self.forward.is_empty() => {
                self.hop_failed(Failure::TimedOut);
            }
            phase @ (Phase::ClientCommand | Phase::Message) => {
                self.log(Log::ClientTimedOut(phase));
                self.end_session(Some(replies::TOO_SLOW));
            }
            Phase::HopConnect => self.hop_failed(Failure::NotConnected),
            Phase::HopGreeting | Phase::HopCommand | Phase::HopData | Phase::HopFinal => {
                self.hop_failed(Failure::TimedOut);
            }
            Phase::Closing => {
                self.abort_hop();
                self.replies.release();
            }
        }
        self.settle();
    }
}
