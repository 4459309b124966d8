//! The two ends of a ring as blocking streams. The doorbell is a socket pair; a
//! byte rings it.
//!
//! A side that finds nothing polls for a while and then sleeps. It rings when a
//! quarter of the ring has been written or taken, and before it waits, as a
//! guest does.

use std::hint::spin_loop;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kernel::shared::SharedFile;
use vmc::ring::{Consumer, IndexLie, Producer, Taken};

use crate::memory::geometry;

/// Longest wait for the doorbell, after which the other side counts as gone or
/// stuck.
const LIMIT: Duration = Duration::from_secs(10);

/// The state of one side besides its end of the ring.
pub(crate) struct Side {
    pub(crate) memory: SharedFile,
    pub(crate) bell: UnixStream,
    /// How many times to poll before sleeping.
    pub(crate) looks: u32,
    /// How many times this side has rung.
    pub(crate) rung: u64,
}

impl Side {
    pub(crate) fn new(memory: SharedFile, bell: UnixStream, looks: u32) -> io::Result<Self> {
        bell.set_read_timeout(Some(LIMIT))?;
        bell.set_write_timeout(Some(LIMIT))?;
        Ok(Self {
            memory,
            bell,
            looks,
            rung: 0,
        })
    }

    fn ring(&mut self) -> io::Result<()> {
        self.rung += 1;
        self.bell.write_all(&[0])
    }

    fn sleep(&mut self) -> io::Result<()> {
        match self.bell.read(&mut [0; 64])? {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }
}

fn lie(lie: IndexLie) -> io::Error {
    io::Error::other(lie)
}

/// The reading end. Dropping it closes the doorbell, which the other end notices.
pub(crate) struct Reader {
    pub(crate) side: Side,
    consumer: Consumer,
}

impl Reader {
    pub(crate) fn new(side: Side, capacity: usize) -> Self {
        let consumer = Consumer::new(geometry(capacity), 0);
        consumer.attach(&side.memory);
        Self { side, consumer }
    }

    fn ring(&mut self) -> io::Result<()> {
        if self.consumer.must_ring(&self.side.memory) {
            self.side.ring()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        self.ring()?;
        for _ in 0..self.side.looks {
            if self.consumer.available(&self.side.memory).map_err(lie)? > 0 {
                return Ok(());
            }
            spin_loop();
        }
        if !self
            .consumer
            .wait_for_data(&self.side.memory)
            .map_err(lie)?
        {
            self.side.sleep()?;
        }
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.consumer.read(&self.side.memory, into).map_err(lie)? {
                Taken::Bytes(count) => {
                    if self.consumer.unannounced() >= self.consumer.capacity() / 4 {
                        self.ring()?;
                    }
                    return Ok(count);
                }
                Taken::Empty => self.wait()?,
                Taken::Finished => return Ok(0),
                Taken::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
    }
}

/// The writing end.
pub(crate) struct Writer {
    side: Side,
    producer: Producer,
}

impl Writer {
    /// Makes the writing end. `producer` initialised the ring before the other
    /// side could use it.
    pub(crate) const fn new(side: Side, producer: Producer) -> Self {
        Self { side, producer }
    }

    fn ring(&mut self) -> io::Result<()> {
        if self.producer.must_ring(&self.side.memory) {
            self.side.ring()?;
        }
        Ok(())
    }

    /// Waits for a quarter of the ring, so that a batch is worth the wait.
    fn wait(&mut self) -> io::Result<()> {
        self.ring()?;
        let wanted = self.producer.capacity() / 4;
        for _ in 0..self.side.looks {
            self.producer.head(&self.side.memory).map_err(lie)?;
            if self.producer.space() >= wanted {
                return Ok(());
            }
            spin_loop();
        }
        if !self
            .producer
            .wait_for_space(&self.side.memory, wanted)
            .map_err(lie)?
        {
            self.side.sleep()?;
        }
        Ok(())
    }

    /// Ends the stream.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.producer.finish(&self.side.memory);
        self.ring()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let count = self.producer.write(&self.side.memory, bytes).map_err(lie)?;
            if self.producer.unannounced() >= self.producer.capacity() / 4 {
                self.ring()?;
            }
            if count > 0 {
                return Ok(count);
            }
            self.wait()?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.ring()
    }
}
