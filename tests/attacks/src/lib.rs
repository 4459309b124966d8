//! The attacks that one guest makes on another by the channel's protocol.
//!
//! The guest `tests/hostile` carries them out, and the lab's scenario `hostile` judges the victim.
//! Both take the list from here, so an attack without code, or one that nobody judges, does not
//! compile.
#![no_std]
#![forbid(unsafe_code)]

use vmc::Cause;

macro_rules! attacks {
    ($($(#[doc = $about:literal])+ $attack:ident = $name:literal, $causes:expr;)+) => {
        /// An attack.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Attack {
            $($(#[doc = $about])+ $attack,)+
        }

        impl Attack {
            /// Every attack, in the order in which the lab makes them.
            pub const ALL: &[Self] = &[$(Self::$attack),+];

            /// Returns its name, as in the hostile guest's option `attack=`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$attack => $name,)+
                }
            }

            /// Returns the causes that the victim counts because of it, and how often it counts each.
            #[must_use]
            pub const fn causes(self) -> &'static [(Cause, u64)] {
                match self {
                    $(Self::$attack => &$causes,)+
                }
            }
        }
    };
}

attacks! {
    /// No attack: everything as docs/protocol.md has it, from HELLO to LEAVE, and TCP after it.
    Honest = "honest", [(Cause::PeerLeft, 1)];
    /// HELLOs that name other domains: nobody else may map what the victim grants.
    HelloDomid = "hello_domid", [];
    /// A proof that is wrong, and no proof at all.
    HelloProof = "hello_proof", [];
    /// A link of its own under another guest's identity, and under the victim's.
    HelloUuid = "hello_uuid", [];
    /// Thousands of HELLOs, each with another secret and identity, and datagrams that mean nothing.
    HelloFlood = "hello_flood", [];
    /// HELLOs to everybody, from another port, and from dom0 under addresses of others: nothing is
    /// held for them, and an honest guest makes its link meanwhile.
    Forged = "forged", [];
    /// Notifies without end on links that it has not proved.
    Unproved = "unproved", [];
    /// Maps link after link and opens none, from several addresses, until it is refused.
    Offers = "offers", [];
    /// Answers the honest guest's HELLO with a link at one address after the other, and opens none.
    OpensNone = "opens_none", [];
    /// Takes three links at once from three addresses, and proves each: the first one stays.
    Crowd = "crowd", [(Cause::Gone, 1)];
    /// Makes a link where the victim has room for one more, or is refused.
    Places = "places", [];
    /// Overwrites the control page with values that make no sense anywhere.
    ControlPage = "control_page", [(Cause::IndexLie, 4)];
    /// Lies about the indices of both message rings.
    MessageIndices = "message_indices", [(Cause::IndexLie, 3)];
    /// Sends messages that mean nothing; each ends a link.
    Malformed = "malformed", [(Cause::BadMessage, 29)];
    /// Sets every bit of the doorbell again and again.
    Doorbell = "doorbell", [];
    /// Notifies without end: the victim ends the link, or bears it.
    Notifications = "notifications", [];
    /// Does not take the victim's answers.
    Unread = "unread", [(Cause::Stuck, 2)];
    /// Speaks for an address that is not its own, in a SWITCH and in frames. The link stays.
    WrongAddress = "wrong_address", [(Cause::WrongAddress, 10)];
    /// Lies as the writer of a ring: more than it holds, and back.
    ProducerIndex = "producer_index", [(Cause::IndexLie, 3)];
    /// Lies as the reader of a ring: more than was written, and back.
    ConsumerIndex = "consumer_index", [(Cause::IndexLie, 3)];
    /// Overwrites both rings of a connection, headers and bytes.
    Scribble = "scribble", [(Cause::IndexLie, 3)];
    /// Offers rings that cannot be mapped, and more than there is room for. The link stays.
    References = "references", [];
    /// Names impossible offsets: confirmed beyond the tail, switched to what was read already.
    Offsets = "offsets", [(Cause::BadMessage, 4)];
    /// Writes and never reads: the echo comes to a stop, and nothing else does.
    Stall = "stall", [];
    /// Asks for rings that cannot exist, for one twice, and for all there are.
    Asks = "asks", [(Cause::BadMessage, 4)];
    /// Announces a migration and takes it back, again and again, with bytes on rings.
    Migrating = "migrating", [(Cause::BadMessage, 1)];
    /// Announces a migration and takes it back, thousands of times, and closes the link before the
    /// victim looks.
    Toggles = "toggles", [(Cause::Gone, 4)];
    /// Says that it is suspended and goes on: overwrites both rings, and never resumes.
    Frozen = "frozen", [];
    /// Freezes links with bytes on rings, again and again from several addresses, with and without
    /// the end of the connection.
    Freezes = "freezes", [];
    /// Asks for rings, maps them, and retires them without unmapping, as often as it gets one; an
    /// honest guest makes its link meanwhile.
    Quota = "quota", [];
    /// Tells of thousands of guests, in every event.
    Members = "members", [];
    /// Sends ADDRESS and PROVED with secrets that are wrong, and LOST of everybody's addresses.
    Addresses = "addresses", [(Cause::WrongAddress, 1500), (Cause::Left, 1)];
    /// Proves more addresses while bytes are on rings, loses one, and claims those of others.
    DualStack = "dual_stack", [(Cause::WrongAddress, 2)];
    /// Sends RESUME as it should be, and in every other way.
    Resume = "resume", [(Cause::WrongAddress, 3)];
    /// Ends links by offence and by LEAVE, and unmaps nothing.
    NeverUnmap = "never_unmap", [(Cause::BadMessage, 2), (Cause::PeerLeft, 1)];
    /// Crashes with bytes under way in both directions.
    Die = "die", [(Cause::Gone, 1)];
}

impl Attack {
    /// Returns the attack called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|attack| attack.name() == name)
    }

    /// Whether the victim has lost pages to it until the attacker dies, which never unmaps them.
    #[must_use]
    pub const fn quarantines(self) -> bool {
        matches!(self, Self::NeverUnmap | Self::Quota)
    }

    /// Whether an honest guest boots and makes a link with the victim meanwhile.
    #[must_use]
    pub const fn meets_newcomer(self) -> bool {
        matches!(self, Self::Forged | Self::Quota)
    }

    /// Whether the victim may count `cause` more often than expected. An attacker that goes after
    /// its attack takes its links with it, and how often it can notify depends on the processors.
    #[must_use]
    pub const fn may_exceed(self, cause: Cause) -> bool {
        match cause {
            Cause::Gone | Cause::PeerLeft => true,
            Cause::Flood => matches!(self, Self::Notifications),
            _ => false,
        }
    }

    /// Returns how often the victim counts `cause` because of it.
    #[must_use]
    pub fn expected(self, cause: Cause) -> u64 {
        let causes = self.causes().iter();
        causes
            .filter(|(known, _)| *known == cause)
            .map(|(_, count)| count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Attack;
    use vmc::Cause;

    #[test]
    fn names_lead_back() {
        for &attack in Attack::ALL {
            assert_eq!(Attack::named(attack.name()), Some(attack));
        }
        assert_eq!(Attack::named("nonsense"), None);
    }

    #[test]
    fn what_is_not_named_is_not_expected() {
        assert_eq!(Attack::NeverUnmap.expected(Cause::BadMessage), 2);
        assert_eq!(Attack::NeverUnmap.expected(Cause::Flood), 0);
        assert_eq!(Attack::Frozen.expected(Cause::BadMessage), 0);
    }
}
