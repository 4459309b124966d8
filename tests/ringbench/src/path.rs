//! The paths that bytes can take, and the writer at the far end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use vmc::ring::Producer;

use crate::bare::Bare;
use crate::memory::{self, geometry};
use crate::processor::keep_to;
use crate::ring::{Reader, Side, Writer};
use crate::stream::{self, Buffer};

/// How many times a spinning side polls before it sleeps: some tens of microseconds.
const LOOKS: u32 = 5000;

/// Longest wait for a socket.
const LIMIT: Duration = Duration::from_secs(10);

/// The carrier of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// One thread copies the bytes into a buffer of the ring's size and out again.
    Memcpy,
    /// The same between two threads, each with its own processor: one copies in, the other out.
    TwoProcessors,
    RingThreads,
    RingProcesses,
    /// Between processes on one processor; a side that waits sleeps at once.
    RingOneProcessor,
    UnixSocket,
    LoopbackTcp,
}

impl Path {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Memcpy => "memcpy in, out",
            Self::TwoProcessors => "two CPUs",
            Self::RingThreads => "ring, threads",
            Self::RingProcesses => "ring, processes",
            Self::RingOneProcessor => "ring, one CPU",
            Self::UnixSocket => "Unix socket",
            Self::LoopbackTcp => "loopback TCP",
        }
    }

    const fn looks(self) -> u32 {
        match self {
            Self::RingOneProcessor => 0,
            _ => LOOKS,
        }
    }
}

/// The job of a writer.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Job {
    #[arg(long, value_enum)]
    pub(crate) path: Path,
    /// Size of a message in bytes.
    #[arg(long)]
    pub(crate) message: usize,
    /// Size of the ring in bytes.
    #[arg(long)]
    pub(crate) capacity: usize,
    /// Write this many bytes that encode their position, then end; without it, write until the
    /// reader closes.
    #[arg(long)]
    pub(crate) checked: Option<u64>,
    /// The processor to run on.
    #[arg(long)]
    pub(crate) processor: Option<usize>,
}

/// The party that writes.
pub(crate) enum Peer {
    Nobody,
    Thread(JoinHandle<Result<()>>),
    Process(Child),
}

impl Peer {
    /// Returns the id of its process, unless it is this one.
    pub(crate) fn process(&self) -> Option<u32> {
        match self {
            Self::Process(child) => Some(child.id()),
            Self::Nobody | Self::Thread(_) => None,
        }
    }

    /// Waits for its end, which the reader has caused by closing.
    pub(crate) fn join(self) -> Result<()> {
        match self {
            Self::Nobody => Ok(()),
            Self::Thread(thread) => thread
                .join()
                .unwrap_or_else(|_| bail!("the writer panicked")),
            Self::Process(mut child) => {
                let start = Instant::now();
                let status = loop {
                    if let Some(status) = child.try_wait()? {
                        break status;
                    }
                    if start.elapsed() > LIMIT {
                        child.kill()?;
                        break child.wait()?;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                };
                if !status.success() {
                    bail!("the writer ended with {status}");
                }
                Ok(())
            }
        }
    }
}

/// The near end of a path.
pub(crate) enum Source {
    Copy(Copies),
    Bare(Bare),
    Ring(Box<Reader>),
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Source {
    /// Returns how many times the reader has rung; the writer's rings are not counted.
    pub(crate) fn rung(&self) -> Option<u64> {
        match self {
            Self::Ring(reader) => Some(reader.side.rung),
            _ => None,
        }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Copy(copies) => copies.read(into),
            Self::Bare(bare) => bare.read(into),
            Self::Ring(reader) => reader.read(into),
            Self::Unix(socket) => socket.read(into),
            Self::Tcp(socket) => socket.read(into),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Self::Bare(bare) = self {
            bare.close();
        }
    }
}

/// The bound: the cost of one copy in and one out, and nothing else.
pub(crate) struct Copies {
    message: Buffer,
    buffer: Buffer,
    at: usize,
}

impl Copies {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.message.len());
        let place = &mut self.buffer[self.at..][..count];
        place.copy_from_slice(std::hint::black_box(&self.message[..count]));
        into[..count].copy_from_slice(std::hint::black_box(place));
        self.at = (self.at + count) % self.buffer.len();
        Ok(count)
    }
}

/// Opens a path and starts its writer.
pub(crate) fn open(job: Job) -> Result<(Source, Peer)> {
    Ok(match job.path {
        Path::Memcpy => {
            let copies = Copies {
                message: Buffer::new(job.message),
                buffer: Buffer::new(job.capacity),
                at: 0,
            };
            (Source::Copy(copies), Peer::Nobody)
        }
        Path::TwoProcessors => {
            let file = memory::file(job.capacity)?;
            let theirs = Bare::new(memory::map(&file, job.capacity)?, job.capacity);
            let writer = std::thread::spawn(move || {
                if let Some(processor) = job.processor {
                    keep_to(processor)?;
                }
                Ok(theirs.write(&Buffer::new(job.message))?)
            });
            let ours = Bare::new(memory::map(&file, job.capacity)?, job.capacity);
            (Source::Bare(ours), Peer::Thread(writer))
        }
        Path::RingThreads => {
            let file = memory::file(job.capacity)?;
            let (near, far) = UnixStream::pair()?;
            let theirs = file.try_clone()?;
            let writer = std::thread::spawn(move || write_ring(job, &theirs, far));
            (reader(job, &file, near)?, Peer::Thread(writer))
        }
        Path::RingProcesses | Path::RingOneProcessor => {
            let file = memory::file(job.capacity)?;
            let (near, far) = UnixStream::pair()?;
            let writer = process(job, file.try_clone()?.into(), Some(far.into()))?;
            (reader(job, &file, near)?, writer)
        }
        Path::UnixSocket => {
            let (near, far) = UnixStream::pair()?;
            near.set_read_timeout(Some(LIMIT))?;
            (Source::Unix(near), process(job, far.into(), None)?)
        }
        Path::LoopbackTcp => {
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let far = TcpStream::connect(listener.local_addr()?)?;
            far.set_nodelay(true)?;
            let (near, _) = listener.accept()?;
            near.set_read_timeout(Some(LIMIT))?;
            (Source::Tcp(near), process(job, far.into(), None)?)
        }
    })
}

/// Makes the reader's end, once the writer has initialised the ring.
fn reader(job: Job, file: &File, bell: UnixStream) -> Result<Source> {
    let memory = memory::map(file, job.capacity)?;
    let mut side = Side::new(memory, bell, job.path.looks())?;
    side.bell.read_exact(&mut [0])?;
    Ok(Source::Ring(Box::new(Reader::new(side, job.capacity))))
}

/// Starts this program again as a writer, with the carrier of the bytes as its standard input and
/// the doorbell as its standard output.
fn process(job: Job, carrier: OwnedFd, bell: Option<OwnedFd>) -> Result<Peer> {
    let path = job.path.to_possible_value().context("no name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["write", "--path", path.get_name()]);
    command.arg("--message").arg(job.message.to_string());
    command.arg("--capacity").arg(job.capacity.to_string());
    if let Some(bytes) = job.checked {
        command.arg("--checked").arg(bytes.to_string());
    }
    if let Some(processor) = job.processor {
        command.arg("--processor").arg(processor.to_string());
    }
    command.stdin(Stdio::from(carrier));
    command.stdout(bell.map_or_else(Stdio::null, Stdio::from));
    Ok(Peer::Process(command.spawn().context("starting a writer")?))
}

/// Runs the writer in its process.
pub(crate) fn write(job: Job) -> Result<()> {
    let carrier = io::stdin().as_fd().try_clone_to_owned()?;
    match job.path {
        Path::RingProcesses | Path::RingOneProcessor => {
            let bell = io::stdout().as_fd().try_clone_to_owned()?;
            write_ring(job, &File::from(carrier), bell.into())
        }
        Path::UnixSocket => write_to(UnixStream::from(carrier), job),
        Path::LoopbackTcp => write_to(TcpStream::from(carrier), job),
        Path::Memcpy | Path::TwoProcessors | Path::RingThreads => {
            bail!("this path has no writing process")
        }
    }
}

fn write_to(mut into: impl Write, job: Job) -> Result<()> {
    if let Some(processor) = job.processor {
        keep_to(processor)?;
    }
    stream::write(&mut into, job)
}

fn write_ring(job: Job, file: &File, mut bell: UnixStream) -> Result<()> {
    let memory = memory::map(file, job.capacity)?;
    let producer = Producer::new(&memory, geometry(job.capacity), 0);
    bell.write_all(&[0])?; // The ring exists: between guests, RING and SWITCH say so.
    let side = Side::new(memory, bell, job.path.looks())?;
    let mut writer = Writer::new(side, producer);
    write_to(&mut writer, job)?;
    writer.finish().or_else(stream::closed)?;
    Ok(())
}
