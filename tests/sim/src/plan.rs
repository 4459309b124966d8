//! What an application at one end of a connection intends to do.

/// How an application ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Finishes writing, and reads to the end.
    Finish,
    /// Drops the connection as soon as everything is written, whatever arrives.
    Drop,
    /// Resets it once this many bytes are written.
    AbortAt(u64),
}

/// What one end does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Bytes to write.
    pub total: u64,
    /// Most bytes in one write.
    pub largest_write: usize,
    /// Most bytes in one read.
    pub largest_read: usize,
    /// Chance of a sleep after a write, in thousandths.
    pub write_sleeps: u32,
    /// Chance of a sleep after a read, in thousandths.
    pub read_sleeps: u32,
    /// Longest sleep, in nanoseconds.
    pub sleep: u64,
    /// Bytes of each message from the other end and of each one to it, if the
    /// two ends take turns.
    pub answers: Option<(u64, u64)>,
    /// Messages that this end may send ahead of the other's; 0 if it only
    /// answers.
    pub ahead: u64,
    /// How it ends.
    pub end: End,
}

impl Plan {
    /// Writes `total` bytes as fast as possible, reads whatever arrives, and
    /// ends in order.
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

    /// Sets how it ends.
    #[must_use]
    pub const fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Returns how many bytes may have been written once `read` bytes were
    /// read.
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
        // A long stream in tiny pieces is slow and shows nothing new.
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
