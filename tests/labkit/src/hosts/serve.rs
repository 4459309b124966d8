//! The second host's agent: answers the first one's requests until it is told to power off.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::protocol::{Answer, Request, bounded, read_line, write_line};
use super::receiver::{Incoming, Receiver};
use super::{CONTROL_PORT, sender};
use crate::addresses::SECOND_DOM0;
use crate::deadline::Deadline;
use crate::domain;
use crate::domain::console::{self, Console};
use crate::report::Report;

/// How many requests are served at a time.
const MAX_REQUESTS: usize = 16;

/// How many receivers may wait for their [`Request::Received`].
const MAX_RECEIVERS: usize = 8;

/// How long a client may take to send its request, and to read its answer.
const LINE_LIMIT: Duration = Duration::from_secs(20);

/// The longest this host serves. The lab ends the machine before that.
const SERVICE_LIMIT: Duration = Duration::from_secs(3600);

/// Serves until it is told to power off; then hands in the guests' consoles.
pub fn run(report: &Report) -> Result<()> {
    let listener = TcpListener::bind((SECOND_DOM0, CONTROL_PORT)).context("the control port")?;
    report.log(format!("host b: serving at {SECOND_DOM0}"));
    let (stop, stopped) = mpsc::sync_channel(1);
    let state = Arc::new(State {
        report: report.clone(),
        receivers: Mutex::default(),
        stop,
    });
    let busy = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (state, busy) = (Arc::clone(&state), Arc::clone(&busy));
            // A client beyond the limit is dropped and sees the end of its connection.
            if busy.fetch_add(1, Ordering::AcqRel) >= MAX_REQUESTS {
                busy.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            thread::spawn(move || {
                state.serve(client);
                busy.fetch_sub(1, Ordering::AcqRel);
            });
        }
    });
    let told = stopped.recv_timeout(SERVICE_LIMIT);
    hand_in_consoles(report);
    told.context("the first host has not said that it is done")
}

struct State {
    report: Report,
    receivers: Mutex<BTreeMap<u16, Receiver>>,
    stop: SyncSender<()>,
}

impl State {
    fn serve(&self, mut client: TcpStream) {
        let served = self.exchange(&mut client);
        match served {
            Ok(false) => {}
            // A second request to stop changes nothing.
            Ok(true) => drop(self.stop.try_send(())),
            Err(error) => self.report.log(format!("host b: a request: {error:#}")),
        }
    }

    /// Serves one request; returns whether it was the last.
    fn exchange(&self, client: &mut TcpStream) -> Result<bool> {
        client.set_read_timeout(Some(LINE_LIMIT))?;
        client.set_write_timeout(Some(LINE_LIMIT))?;
        let request: Request = read_line(client)?;
        let answer = self.answer(&request).unwrap_or_else(|error| {
            let why = format!("{error:#}");
            self.report.log(format!("host b: {request:?}: {why}"));
            Answer::Failed(bounded(&why))
        });
        write_line(client, &answer)?;
        Ok(request == Request::PowerOff)
    }

    fn answer(&self, request: &Request) -> Result<Answer> {
        Ok(match request {
            Request::Hello => Answer::Hello {
                xen: domain::xen_version()?,
            },
            Request::Receive { limit_s, fault } => {
                self.receive(Incoming::Migration(*fault), *limit_s)?
            }
            Request::Restore { limit_s, bytes } => {
                self.receive(Incoming::Saved(*bytes), *limit_s)?
            }
            Request::Received { port } => {
                let receiver = self.receivers().remove(port);
                let receiver = receiver.with_context(|| format!("no receiver at port {port}"))?;
                Answer::Received(receiver.finish()?)
            }
            Request::Send {
                domain,
                to,
                limit_s,
            } => {
                let limit = Duration::from_secs(*limit_s);
                Answer::Sent(Box::new(sender::send(domain, *to, limit)?))
            }
            Request::Domains => Answer::Domains(domain::all()?),
            Request::Console { domain } => {
                // libvirt and a restore give a domain its own name at once, a live migration by xl
                // only in the end.
                let consoles = [Console::incoming(domain), Console::of(domain)];
                Answer::Console(bounded(&consoles.map(|console| console.text()).concat()))
            }
            Request::DestroyAll => {
                domain::destroy_all()?;
                Answer::Done
            }
            Request::PowerOff => Answer::Done,
        })
    }

    /// Starts a receiver, which lives for at most `limit_s` seconds.
    fn receive(&self, incoming: Incoming, limit_s: u64) -> Result<Answer> {
        let receiver = Receiver::start(SECOND_DOM0, incoming, Deadline::seconds(limit_s))?;
        let port = receiver.port();
        let mut receivers = self.receivers();
        if receivers.len() >= MAX_RECEIVERS {
            bail!("{MAX_RECEIVERS} receivers have not been asked for");
        }
        receivers.insert(port, receiver);
        Ok(Answer::Receiving { port })
    }

    fn receivers(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, Receiver>> {
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes every guest's console on to the lab's host.
fn hand_in_consoles(report: &Report) {
    for entry in fs::read_dir(console::FOLDER)
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(guest) = name.strip_prefix("guest-") {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            report.file(&format!("guest-b-{guest}"), &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Mutex, mpsc};
    use std::thread;

    use super::super::protocol::{Answer, Request, read_line};
    use super::State;
    use crate::report::Report;

    /// Sends `bytes` to a service; returns its answer, and whether it has stopped.
    fn exchange(bytes: &[u8]) -> (Option<Answer>, bool) {
        use std::io::Write;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (stop, stopped) = mpsc::sync_channel(1);
        let state = State {
            report: Report::to(std::io::sink()),
            receivers: Mutex::default(),
            stop,
        };
        let service = thread::spawn(move || {
            let (client, _) = listener.accept().expect("one client");
            state.serve(client);
        });
        let mut client = TcpStream::connect(address).expect("it listens");
        client.write_all(bytes).expect("sent");
        client
            .shutdown(std::net::Shutdown::Write)
            .expect("half-closed");
        let answer = read_line(&client).ok();
        service.join().expect("no panic");
        (answer, stopped.try_recv().is_ok())
    }

    fn line(request: &Request) -> Vec<u8> {
        let mut line = serde_json::to_vec(request).expect("plain data");
        line.push(b'\n');
        line
    }

    #[test]
    fn only_one_request_stops_the_service() {
        assert_eq!(
            exchange(&line(&Request::PowerOff)),
            (Some(Answer::Done), true)
        );
        let (answer, stopped) = exchange(&line(&Request::Received { port: 9 }));
        let failed = matches!(answer, Some(Answer::Failed(why)) if why.contains("port 9"));
        assert!(failed && !stopped);
    }

    #[test]
    fn nonsense_has_no_answer() {
        for bytes in [&b"\"power_off\""[..], b"power_off\n", b""] {
            assert_eq!(exchange(bytes), (None, false), "{bytes:?}");
        }
    }
}
