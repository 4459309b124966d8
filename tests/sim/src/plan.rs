//! What an application at one end of a connection means to do.

/// How an application ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Says that it writes no more, and reads on to the end.
    Finish,
    /// Lets go of the connection as soon as all is written, whatever comes.
    Drop,
    /// Resets it when this many bytes are written.
    AbortAt(u64),
}

/// One end's part.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Bytes to write.
    pub total: u64,
    /// Most bytes in one write.
    pub largest_write: usize,
    /// Most bytes in one read.
    pub largest_read: usize,
    /// Sleeps after a write, in a thousand.
    pub write_sleeps: u32,
    /// Sleeps after a read, in a thousand.
    pub read_sleeps: u32,
    /// Longest sleep, in nanoseconds.
    pub sleep: u64,
    /// Bytes of a message from the other end, and of one to it, where this end answers.
    pub answers: Option<(u64, u64)>,
    /// Messages that this end may have sent without an answer; 0: no such rule.
    pub ahead: u64,
    /// How it ends.
    pub end: End,
}

impl Plan {
    /// Writes `total` bytes as fast as they go, reads whatever comes, and ends
    /// in order.
    #[must_use]
    pub const fn stream(total: u64) -> Self {
        Self {
            total,
            largest_write: 5000,
            largest_read: 5000,
            write_sleeps: 0,
            read_sleeps: 0,
            sleep: 1,
            answers: None,
            ahead: 0,
            end: End::Finish,
        }
    }

    /// Writes and reads at most `bytes` at a time.
    #[must_use]
    pub const fn in_pieces(mut self, bytes: usize) -> Self {
        (self.largest_write, self.largest_read) = (bytes, bytes);
        self
    }

    /// Sleeps for up to `nanos` after every write.
    #[must_use]
    pub const fn slow_to_write(mut self, nanos: u64) -> Self {
        (self.write_sleeps, self.sleep) = (1000, nanos);
        self
    }

    /// Sleeps for up to `nanos` after every read.
    #[must_use]
    pub const fn slow_to_read(mut self, nanos: u64) -> Self {
        (self.read_sleeps, self.sleep) = (1000, nanos);
        self
    }

    /// Ends in another way.
    #[must_use]
    pub const fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Returns how many bytes may have been written when `read` were read.
    #[must_use]
    pub fn limit(&self, read: u64) -> u64 {
        match self.answers {
            None => self.total,
            Some((theirs, ours)) => {
                let messages = read / theirs + self.ahead;
                self.total.min(messages * ours)
            }
        }
    }

    fn random(random: &mut fastrand::Rng) -> Self {
        let sizes = [1, 16, 100, 1000, 1500, 5000, 20_000];
        let pick = |random: &mut fastrand::Rng| sizes[random.usize(..sizes.len())];
        let is_small = random.u32(..3) == 0;
        let total = match random.u32(..8) {
            0 => 0,
            1 => random.u64(1..64),
            2..5 => random.u64(1..3000),
            5..7 => random.u64(1..20_000),
            _ => random.u64(1..120_000),
        };
        let (largest_write, largest_read) = (pick(random), pick(random));
        Self {
            total: if is_small { total / 16 } else { total },
            largest_write,
            largest_read,
            write_sleeps: [0, 20, 200][random.usize(..3)],
            read_sleeps: [0, 20, 200][random.usize(..3)],
            sleep: [10_000, 300_000, 5_000_000, 40_000_000][random.usize(..4)],
            answers: None,
            ahead: 0,
            end: End::Finish,
        }
    }

    /// Makes both ends' plans for one connection, over a TCP with buffers of `buffer` bytes.
    #[must_use]
    pub fn pair(random: &mut fastrand::Rng, buffer: usize) -> [Self; 2] {
        let mut plans = [Self::random(random), Self::random(random)];
        // A long stream in tiny pieces shows nothing new and takes long.
        for (writer, reader) in [(0, 1), (1, 0)] {
            let pieces = plans[writer].largest_write.min(plans[reader].largest_read);
            let most = pieces.min(buffer) as u64 * 100;
            plans[writer].total = plans[writer].total.min(most);
        }
        if random.u32(..4) == 0 {
            let pieces = plans.map(|plan| plan.largest_write.min(plan.largest_read));
            let largest = pieces[0].min(pieces[1]).min(buffer) as u64 * 4;
            let largest = largest.min(2000);
            let (request, reply) = (random.u64(1..largest), random.u64(1..largest));
            let count = random.u64(1..25);
            let [client, server] = &mut plans;
            (client.total, server.total) = (request * count, reply * count);
            client.answers = Some((reply, request));
            client.ahead = random.u64(1..3);
            server.answers = Some((request, reply));
        }
        for plan in &mut plans {
            plan.end = match random.u32(..40) {
                0 if plan.answers.is_none() => End::Drop,
                1 => End::AbortAt(random.u64(..=plan.total)),
                _ => End::Finish,
            };
        }
        plans
    }
}
