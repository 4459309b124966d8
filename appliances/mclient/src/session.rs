//! One user's session with the relay. The dialogue is in crate `smtp`; here are the socket and the
//! deadlines.

use alloc::format;
use core::fmt;
use core::time::Duration;

use embassy_futures::select::{Either, select};
use embedded_io_async::{BufRead, Write};
use kernel::time;
use netstack::{ConnectError, Network, ReadHalf, StreamError, WriteHalf};
use smtp::{Envelope, Failure, Mailbox, Progress, Submission, Timeouts};

use crate::mail::{self, Mail};
use crate::options::Options;
use crate::sum::Sum;

/// How long the handshake may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Why a session ended early.
enum Fault {
    Connect(ConnectError),
    Stream(StreamError),
    /// The relay closed the connection.
    Closed,
    /// Nothing moved for as long as any wait of RFC 5321 may last.
    TimedOut,
    Session(Failure),
    /// A name on the command line cannot be used in mail.
    Name,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "connect: {error}"),
            Self::Stream(error) => write!(f, "{error}"),
            Self::Closed => f.write_str("the relay closed the connection"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Session(failure) => write!(f, "{failure}"),
            Self::Name => f.write_str("not a domain name for mail"),
        }
    }
}

impl From<StreamError> for Fault {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

/// Sends the mails of user `from` to all users. If a session breaks in the middle of a mail, that
/// mail counts as failed and is not sent again, because it may have arrived; the next mail gets a
/// new session.
pub(crate) async fn run(network: &Network, options: &Options, from: u32, sum: &mut Sum) {
    let mut to = 1;
    while to <= options.n {
        if let Err(fault) = send(network, options, from, &mut to, sum).await {
            log::warn!("mclient: user {from} to user {to}: {fault}");
            sum.failed += 1;
            to += 1;
        }
    }
}

struct Wire<'a> {
    session: Submission,
    read: ReadHalf,
    write: WriteHalf,
    pattern: &'a [u8],
}

async fn send(
    network: &Network,
    options: &Options,
    from: u32,
    to: &mut u32,
    sum: &mut Sum,
) -> Result<(), Fault> {
    let stream = network
        .connect(options.relay, CONNECT_LIMIT)
        .await
        .map_err(Fault::Connect)?;
    let (read, write) = stream.split();
    let pattern = mail::pattern();
    let mut wire = Wire {
        session: Submission::new(&options.domain).map_err(|_| Fault::Name)?,
        read,
        write,
        pattern: &pattern,
    };
    wire.until_ready().await?;
    while *to <= options.n {
        let user = |number: u32| format!("user{number}@{}", options.domain);
        let (sender, recipient) = (user(from), user(*to));
        let number = u64::from((from - 1) * options.n + *to);
        let mut message = Mail::new(&sender, &recipient, number, options.size);
        let start = time::now();
        let envelope = Envelope {
            sender: Mailbox::parse(&sender).ok_or(Fault::Name)?,
            recipient: Mailbox::parse(&recipient).ok_or(Fault::Name)?,
            size: message.bytes(),
        };
        if wire.mail(envelope, &mut message).await? {
            sum.sent += 1;
        } else {
            sum.failed += 1;
        }
        let took = time::now().saturating_duration_since(start);
        sum.longest = sum.longest.max(took);
        *to += 1;
    }
    wire.session.quit();
    // All mails have been answered, so the result does not matter.
    let _ = wire.step(None).await;
    Ok(())
}

impl Wire<'_> {
    async fn until_ready(&mut self) -> Result<(), Fault> {
        loop {
            match self.step(None).await? {
                Progress::Ready => return Ok(()),
                Progress::Failed(failure) => return Err(Fault::Session(failure)),
                Progress::Bye => return Err(Fault::Closed),
                Progress::SendMessage | Progress::Answered(_) | Progress::Refused(_) => {}
            }
        }
    }

    /// Hands in a mail; true if the relay has taken it.
    async fn mail(&mut self, envelope: Envelope, message: &mut Mail) -> Result<bool, Fault> {
        // The session rests here, so that a mail can begin.
        self.session.mail(envelope);
        let mut sending = false;
        loop {
            let progress = self.step(sending.then_some(&mut *message)).await?;
            match progress {
                Progress::SendMessage => sending = true,
                Progress::Answered(reply) if reply.is_positive() => return Ok(true),
                Progress::Answered(reply) => {
                    log::warn!("mclient: not taken: {reply}");
                    return Ok(false);
                }
                Progress::Refused(reply) => {
                    log::warn!("mclient: refused: {reply}");
                    self.until_ready().await?;
                    return Ok(false);
                }
                Progress::Ready => {}
                Progress::Failed(failure) => return Err(Fault::Session(failure)),
                Progress::Bye => return Err(Fault::Closed),
            }
        }
    }

    /// Sends the session's output, with `message` behind it, and receives, until the session has
    /// something to report.
    async fn step(&mut self, mut message: Option<&mut Mail>) -> Result<Progress, Fault> {
        let limit = Timeouts::default().hop_final;
        loop {
            if let Some(mail) = &mut message {
                while self.session.message_room() > 0 {
                    let front = mail.front(self.pattern);
                    if front.is_empty() {
                        self.session.finish();
                        break;
                    }
                    let taken = self.session.message(front);
                    mail.take(taken);
                }
            }
            let output = self.session.output();
            let idle = output.is_empty();
            let send = async {
                match idle {
                    true => core::future::pending().await,
                    false => self.write.write(output).await,
                }
            };
            match time::timeout(limit, select(send, self.read.fill_buf())).await {
                Err(time::TimedOut) => return Err(Fault::TimedOut),
                Ok(Either::First(sent)) => {
                    let sent = sent?;
                    self.session.sent(sent);
                }
                Ok(Either::Second(input)) => {
                    let input = input?;
                    if input.is_empty() {
                        return Err(Fault::Closed);
                    }
                    let (taken, progress) = self.session.input(input);
                    self.read.consume(taken);
                    if let Some(progress) = progress {
                        return Ok(progress);
                    }
                }
            }
        }
    }
}
