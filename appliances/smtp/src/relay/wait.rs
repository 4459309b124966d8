//! Which time-out applies (RFC 5321 4.5.3.2), and what happens at its end.

use core::time::Duration;

use super::{Hop, Phase, Relay, Wait};
use crate::client::{Failure, Stage};
use crate::log::Log;
use crate::replies;

impl Relay {
    /// Returns how long the present wait may last; `None` once the session is over.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        if self.is_finished() {
            return None;
        }
        let phase = self.phase();
        let limit = self.limit(phase);
        let answers = match &self.hop {
            Hop::Up(client) => client.answers(),
            Hop::None | Hop::Connecting => 0,
        };
        // Behind the final dot the next hop gets no time for each piece: the client's has begun.
        let sent = match phase {
            Phase::Message => (self.forwarded / 512) as u32,
            _ => 0,
        };
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

    /// Returns how long a wait that begins now may last.
    pub(super) fn limit(&self, phase: Phase) -> Duration {
        let timeouts = &self.config.timeouts;
        let within =
            |limit: Duration, stage| limit.min(self.patience.limit(timeouts.hop_recipient, stage));
        match phase {
            Phase::ClientCommand => timeouts.client_command,
            Phase::Message if self.is_held_by_hop() => timeouts.hop_block,
            Phase::Message => timeouts.message_block,
            Phase::HopConnect => within(timeouts.hop_connect, None),
            Phase::HopGreeting => within(timeouts.hop_greeting, self.stage()),
            Phase::HopCommand => within(timeouts.hop_command, self.stage()),
            Phase::HopData => timeouts.hop_data,
            Phase::HopFinal => timeouts.hop_final,
            Phase::Closing => timeouts.closing,
        }
    }

    /// Whether a message waits for the next hop to take more of it.
    fn is_held_by_hop(&self) -> bool {
        self.server.is_streaming() && !self.forward.is_empty()
    }

    fn stage(&self) -> Option<Stage> {
        match &self.hop {
            Hop::Up(client) => Some(client.stage()),
            Hop::None | Hop::Connecting => None,
        }
    }

    /// Returns what is waited for.
    pub(super) fn phase(&self) -> Phase {
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
            Phase::Message if self.is_held_by_hop() => {
                self.hop_failed(Failure::TimedOut);
            }
            phase @ (Phase::ClientCommand | Phase::Message) => {
                let about = self.server.about();
                self.log(Log::ClientTimedOut { about, phase });
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
