//! The control port: one order a line, one line for an answer, `ok NAME=VALUE …` or
//! `error KIND: WHY`, with the kinds of [`Failure`] and of a wrong order.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use embassy_futures::select::{Either, select};
use embedded_io_async::{BufRead, Write};
use kernel::{grant, hypercall, task, time};
use netstack::{ReadHalf, StreamError, TcpListener, TcpStream};

use crate::bells;
use crate::failure::Failure;
use crate::measure::Bench;
use crate::order::Order;

/// The longest order, in bytes.
const LINE_MAX: usize = 200;

/// How long any order may take.
const ORDER_LIMIT: Duration = Duration::from_secs(1800);

/// Serves every client in a task of its own; never completes. The listener's backlog bounds clients
/// only until they are accepted, but each has at most one order under way.
pub(crate) async fn serve(mut listener: TcpListener, bench: Bench) {
    loop {
        let client = listener.accept().await;
        let bench = bench.clone();
        task::spawn(async move {
            let peer = client.peer_addr();
            if let Err(error) = converse(client, &bench).await {
                log::info!("bench: {peer}: {error}");
            }
        })
        .detach();
    }
}

async fn converse(client: TcpStream, bench: &Bench) -> Result<(), StreamError> {
    let (mut read, mut write) = client.split();
    while let Some(line) = read_line(&mut read).await? {
        log::debug!("bench: {line}");
        let work = time::timeout(ORDER_LIMIT, carry_out(&line, bench));
        // A client sends nothing before it has its answer: input means that it has hung up, or
        // does not keep to the protocol.
        let answer = match select(work, more(&mut read)).await {
            Either::First(Ok(answer)) => answer,
            Either::First(Err(time::TimedOut)) => format!("error {}\n", Failure::TimedOut),
            Either::Second(()) => return Ok(()),
        };
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Reads a line. Returns `None` at the end of the stream, and for a line that is too long.
async fn read_line(read: &mut ReadHalf) -> Result<Option<String>, StreamError> {
    let mut line = String::new();
    loop {
        let bytes = read.fill_buf().await?;
        if bytes.is_empty() || line.len() > LINE_MAX {
            return Ok(None);
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        line.extend(piece.iter().map(|&byte| char::from(byte)));
        let taken = piece.len() + usize::from(end.is_some());
        read.consume(taken);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Completes once there is input, or the stream has ended.
async fn more(read: &mut ReadHalf) {
    // An error is an end too; the next read returns it.
    let _ = read.fill_buf().await;
}

async fn carry_out(line: &str, bench: &Bench) -> String {
    let order = match line.parse::<Order>() {
        Ok(order) => order,
        Err(error) => return format!("error {error}\n"),
    };
    let result = match order {
        Order::Stream { peer, write, total } => bench.stream(peer, write, total).await,
        Order::Verify {
            peer,
            write,
            total,
            pause,
        } => bench.verify(peer, write, total, pause).await,
        Order::PingPong { peer, size, rounds } => bench.ping_pong(peer, size, rounds).await,
        Order::Connect { peer, count } => bench.connections(peer, count).await,
        Order::Udp { peer, size, rounds } => bench.udp(peer, size, rounds).await,
        Order::Hold { peer, count } => {
            let held = bench.state().held.add(&bench.client, peer, count).await;
            held.map(|n| format!("held={n}"))
        }
        Order::OpenBell { peer } => {
            let opened = bench.state().bells.open(peer);
            opened.map(|port| format!("port={port}"))
        }
        Order::AnswerBell { peer, port } => {
            bells::answer(peer, port).map(|()| "answering=1".to_string())
        }
        Order::RingBell { rounds } => bench.state().bells.ring(rounds).await,
        Order::Hypercalls { rounds } => Ok(hypercalls(rounds)),
        Order::Release => {
            let released = bench.state().held.release().await;
            released.map(|n| format!("released={n}"))
        }
        Order::Flow => Ok(bench.state().flow.report()),
        Order::Counters => Ok(counters(bench)),
        Order::Stop => {
            bench.stop();
            Ok("stopped=1".to_string())
        }
    };
    match result {
        Ok(figures) => format!("ok {figures}\n"),
        Err(failure) => format!("error {failure}\n"),
    }
}

fn hypercalls(rounds: u64) -> String {
    let took = |call: fn()| {
        let begin = time::now();
        (0..rounds).for_each(|_| call());
        time::now().saturating_duration_since(begin).as_nanos()
    };
    let bare = took(|| _ = hypercall::xen_version());
    let answered = took(|| _ = hypercall::time_running());
    format!("bare_ns={bare} answered_ns={answered}")
}

fn counters(bench: &Bench) -> String {
    let link = bench.client.network.statistics().link;
    format!(
        "{} compared={} grants={} quarantined={} rx_frames={} tx_frames={} rx_bytes={} tx_bytes={}",
        hypercall::counts(),
        bench.state().flow.bytes(),
        grant::in_use(),
        grant::quarantined_pages(),
        link.rx_frames,
        link.tx_frames,
        link.rx_bytes,
        link.tx_bytes
    )
}
