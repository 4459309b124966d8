//! How long a client, and the next hop, may take (RFC 5321 4.5.3.2).

use core::time::Duration;

/// How long each wait may last; for a client, the defaults are those of RFC 5321 4.5.3.2. What the
/// next hop takes must end before the client's own patience does, however many steps it takes: a
/// client that has given up cannot be told why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the client's next command (4.5.3.2.7).
    pub client_command: Duration,
    /// For the client's next 512 bytes of message (4.5.3.2.5).
    pub message_block: Duration,
    /// For the next hop to take the next 512 bytes of a message, while the client waits for room
    /// to send, which it does for three minutes.
    pub hop_block: Duration,
    /// For all that the next hop does before a recipient is answered: connection, greeting and
    /// commands. The client waits for five minutes (4.5.3.2.3).
    pub hop_recipient: Duration,
    /// For the TCP connection to the next hop.
    pub hop_connect: Duration,
    /// For the next hop's greeting (4.5.3.2.1), within `hop_recipient`.
    pub hop_greeting: Duration,
    /// For the answer to a command (4.5.3.2.2, 4.5.3.2.3), within `hop_recipient`.
    pub hop_command: Duration,
    /// For the answer to DATA; the client waits for two minutes (4.5.3.2.4).
    pub hop_data: Duration,
    /// For the end of the message to leave, and for the answer to the final dot; the client waits
    /// for ten minutes (4.5.3.2.6).
    pub hop_final: Duration,
    /// For the last reply to leave and the next hop's goodbye to arrive.
    pub closing: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client_command: Duration::from_secs(5 * 60),
            message_block: Duration::from_secs(3 * 60),
            hop_block: Duration::from_secs(150),
            hop_recipient: Duration::from_secs(270),
            hop_connect: Duration::from_secs(30),
            hop_greeting: Duration::from_secs(5 * 60),
            hop_command: Duration::from_secs(5 * 60),
            hop_data: Duration::from_secs(100),
            hop_final: Duration::from_secs(9 * 60),
            closing: Duration::from_secs(10),
        }
    }
}
