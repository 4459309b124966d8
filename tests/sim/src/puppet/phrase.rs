//! What a hostile domain can say and do, in steps that follow docs/protocol.md to
//! the letter: each is an exchange that an honest guest might begin.

/// One step of a hostile sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phrase {
    /// Goes on under an address that it has not used before.
    Move,
    /// Greets the victim, with a new nonce, and opens the link that it offers.
    Greet,
    /// Greets the victim, and keeps its offer in hand.
    GreetAndHold,
    /// Opens the link that it has in hand.
    Open,
    /// Answers the victim's HELLOs with offers (`true`), or not at all.
    Offer(bool),
    /// Opens a TCP connection to the victim.
    Connect,
    /// Grants a ring, moves its last connection onto it and writes into it.
    Write,
    /// Announces a migration and takes it back, this often.
    Toggle(u16),
    /// Asks for this many rings of 2^`log2` pages in the victim's pages, and maps
    /// what it gets.
    Ask {
        /// How many.
        count: u16,
        /// log2 of data pages.
        log2: u8,
    },
    /// Gives all those rings back, and does not unmap them.
    Retire,
    /// Tells of invented guests, this often.
    Members(u16),
    /// Answers the victim's rings: takes all bytes (`true`) or none, and says
    /// DONE or CONFIRM.
    Answer(bool),
    /// Asks for each of its own rings to be confirmed.
    Fallback,
    /// Leaves; 1 for a shutdown, 2 for a migration, 4 as an answer.
    Leave(u16),
    /// Is frozen, as at a suspend; the link is gone afterwards.
    Freeze,
    /// Closes the link without a word, and keeps everything mapped.
    Close,
    /// Closes its event channel and unmaps everything.
    Vanish,
    /// Resets its TCP connections.
    Reset,
    /// RESUME for the last link that ended, this often, naming its connections.
    Resume(u16),
    /// Takes no messages from now on (`true`), or takes them again.
    Mute(bool),
    /// Does nothing for this many nanoseconds.
    Sleep(u64),
    /// Frames, this many.
    Frames(u16),
}

impl Phrase {
    /// Makes a sequence: a link, some of what can be done with it, and its end.
    #[must_use]
    pub fn sequence(random: &mut fastrand::Rng) -> Vec<Self> {
        let mut phrases = Vec::new();
        if random.bool() {
            phrases.push(Self::Move);
        }
        match random.u32(..6) {
            0 => {
                phrases.push(Self::GreetAndHold);
                phrases.push(Self::Sleep(random.u64(..3_000_000)));
                if random.bool() {
                    phrases.push(Self::Open);
                }
            }
            1 => phrases.push(Self::Offer(random.bool())),
            _ => phrases.push(Self::Greet),
        }
        for _ in 0..random.usize(1..8) {
            let phrase = Self::any(random);
            phrases.push(phrase);
        }
        phrases.push(match random.u32(..6) {
            0 => Self::Leave([1, 2, 4][random.usize(..3)]),
            1 => Self::Close,
            2 => Self::Vanish,
            _ => Self::Freeze,
        });
        if random.bool() {
            phrases.push(Self::Reset);
        }
        if random.u32(..3) == 0 {
            phrases.push(Self::Resume(random.u16(1..20)));
        }
        phrases
    }

    fn any(random: &mut fastrand::Rng) -> Self {
        let many = |random: &mut fastrand::Rng| [1, 3, 30, 600, 3000][random.usize(..5)];
        match random.u32(..18) {
            0..3 => Self::Connect,
            3..5 => Self::Write,
            5 | 6 => Self::Toggle(many(random)),
            7 | 8 => Self::Ask {
                count: random.u16(1..20),
                log2: random.u8(..5),
            },
            9 | 10 => Self::Retire,
            11 => Self::Members(many(random)),
            12 => Self::Answer(random.bool()),
            13 => Self::Fallback,
            14 => Self::Mute(random.u32(..3) != 0),
            15 => Self::Frames(random.u16(1..40)),
            16 => Self::Reset,
            _ => Self::Sleep(random.u64(..20_000_000)),
        }
    }
}
