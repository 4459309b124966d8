//! The PV console (`xen/include/public/io/console.h`): two byte rings in one
//! page, 1024 bytes in and 2048 out.
//!
//! Output that does not fit the ring waits in a bounded backlog, which a task
//! drains as xenconsoled reads. Output beyond the bound is dropped; once there
//! is room again, a line says how many bytes were.

use crate::bug;
use crate::event::{self, EventChannel};
use crate::hypercall::sched_op;
use crate::lifecycle::{Lifecycle, Outcome};
use crate::page::PAGE_SIZE;
use crate::platform::console_port;
use crate::shared::SharedMemory;
use crate::time;
use crate::vcpu_cell::VcpuCell;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::future::poll_fn;
use core::mem::offset_of;
use core::sync::atomic::Ordering;
use core::task::{Poll, Waker};
use core::time::Duration;
use xen_sys::abi::{self, xencons_interface};

/// Most bytes that wait for room in the ring.
const BACKLOG: usize = 16 * 1024;

/// Longest line of input in bytes; longer ones are truncated.
const LINE: usize = 256;

/// Most lines of input that wait for a reader.
const LINES: usize = 8;

const IN_SIZE: u32 = 1024;
const OUT_SIZE: u32 = 2048;

struct Console {
    page: SharedMemory,
    port: u32,
    backlog: VecDeque<u8>,
    dropped: usize,
    typed: Vec<u8>,
    lines: VecDeque<String>,
    reader: Option<Waker>,
}

static CONSOLE: VcpuCell<Option<Console>> = VcpuCell::new(None);

/// Starts output to the ring in `page`, whose event channel is `port`.
pub(crate) fn init(page: SharedMemory, port: u32) {
    assert!(page.len() == PAGE_SIZE);
    *CONSOLE.borrow() = Some(Console {
        page,
        port,
        backlog: VecDeque::new(),
        dropped: 0,
        typed: Vec::new(),
        lines: VecDeque::new(),
        reader: None,
    });
}

/// The console's part in a suspend.
pub(crate) struct Output;

impl Lifecycle for Output {
    fn name(&self) -> &'static str {
        "console"
    }

    /// The ring moved with the guest and still holds what no console daemon has
    /// read; its port is the new domain's.
    fn resume(&self, outcome: Outcome) {
        if outcome == Outcome::NewDomain
            && let Some(console) = CONSOLE.borrow().as_mut()
        {
            console.port = console_port();
            console.drain();
        }
    }
}

impl Console {
    /// Returns the free bytes of the output ring. Impossible indices count as a
    /// full ring, so nothing is ever written outside it.
    fn room(&self) -> u32 {
        let consumer = self
            .page
            .load_u32(offset_of!(xencons_interface, out_cons), Ordering::Acquire);
        let producer = self
            .page
            .load_u32(offset_of!(xencons_interface, out_prod), Ordering::Relaxed);
        OUT_SIZE.saturating_sub(producer.wrapping_sub(consumer))
    }

    /// Copies as many bytes into the ring as fit, and returns how many.
    fn put(&self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room() as usize);
        let at = offset_of!(xencons_interface, out_prod);
        let producer = self.page.load_u32(at, Ordering::Relaxed);
        for (index, &byte) in (0u32..).zip(&bytes[..count]) {
            let slot = producer.wrapping_add(index) % OUT_SIZE;
            let offset = offset_of!(xencons_interface, out) + slot as usize;
            self.page.store_u8(offset, byte, Ordering::Relaxed);
        }
        self.page
            .store_u32(at, producer.wrapping_add(count as u32), Ordering::Release);
        count
    }

    /// Moves the backlog to the ring; returns true if all of it fitted.
    fn drain(&mut self) -> bool {
        while !self.backlog.is_empty() {
            let count = self.put(self.backlog.as_slices().0);
            if count == 0 {
                break;
            }
            self.backlog.drain(..count);
        }
        if self.backlog.is_empty() && self.dropped > 0 {
            let mut note = String::new();
            // Writing to a String cannot fail.
            let _ = writeln!(
                note,
                "console: {} bytes of output were dropped",
                self.dropped
            );
            self.dropped = 0;
            let count = self.put(note.as_bytes());
            self.backlog.extend(&note.as_bytes()[count..]);
        }
        event::notify(self.port);
        self.backlog.is_empty()
    }
}

impl Write for Console {
    /// Writes a string; newlines become CR LF, as a terminal expects.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, "\r\n"),
                None => (line, ""),
            };
            for part in [line, end] {
                let mut bytes = part.as_bytes();
                if self.backlog.is_empty() {
                    bytes = &bytes[self.put(bytes)..];
                }
                let room = BACKLOG.saturating_sub(self.backlog.len()).min(bytes.len());
                self.backlog.extend(&bytes[..room]);
                self.dropped += bytes.len() - room;
            }
        }
        Ok(())
    }
}

/// Prints on the console; never waits.
pub fn print(text: fmt::Arguments<'_>) {
    if let Some(mut guard) = CONSOLE.try_borrow()
        && let Some(console) = guard.as_mut()
    {
        console.drain();
        // `Console` itself never fails; output of a `Display` that does is cut
        // short.
        let _ = console.write_fmt(text);
        event::notify(console.port);
    }
}

/// Waits, for at most `limit`, until the console daemon has read everything.
/// Blocks the whole guest, so it is for its last words only.
pub(crate) fn flush(limit: Duration) {
    let Some(start) = time::if_running() else {
        return;
    };
    while time::now() < start + limit {
        let Some(mut guard) = CONSOLE.try_borrow() else {
            return;
        };
        let Some(console) = guard.as_mut() else {
            return;
        };
        let drained = console.drain() && console.room() == OUT_SIZE;
        drop(guard);
        if drained {
            return;
        }
        // SAFETY: this command takes no argument.
        let _ = unsafe { sched_op::<u8>(abi::SCHEDOP_yield, core::ptr::null()) };
    }
}

/// Serves the console's events: drains the backlog and collects input.
pub(crate) async fn serve(channel: EventChannel) {
    loop {
        if channel.wait().await.is_err() {
            bug::report("the console's event channel ended before the guest");
            return;
        }
        let reader = CONSOLE.borrow().as_mut().and_then(|console| {
            console.drain();
            console.collect_input()
        });
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Console {
    /// Takes what was typed. Returns the waker of the task that waits for a
    /// line, if a line is complete.
    fn collect_input(&mut self) -> Option<Waker> {
        let producer = self
            .page
            .load_u32(offset_of!(xencons_interface, in_prod), Ordering::Acquire);
        let at = offset_of!(xencons_interface, in_cons);
        let mut consumer = self.page.load_u32(at, Ordering::Relaxed);
        if producer.wrapping_sub(consumer) > IN_SIZE {
            // No correct console daemon does this; resume at its index.
            consumer = producer;
        }
        while consumer != producer {
            let slot = (consumer % IN_SIZE) as usize;
            let byte = self
                .page
                .load_u8(offset_of!(xencons_interface, in_) + slot, Ordering::Relaxed);
            consumer = consumer.wrapping_add(1);
            if byte != b'\r' && byte != b'\n' {
                if self.typed.len() < LINE {
                    self.typed.push(byte);
                }
            } else if !self.typed.is_empty() {
                let line = String::from_utf8_lossy(&self.typed).into_owned();
                self.typed.clear();
                if self.lines.len() < LINES {
                    self.lines.push_back(line);
                }
            }
        }
        self.page.store_u32(at, consumer, Ordering::Release);
        event::notify(self.port);
        if self.lines.is_empty() {
            None
        } else {
            self.reader.take()
        }
    }
}

/// Waits for the next line typed on the console, without its line ending. Only
/// one task at a time may wait. At most 8 unread lines are kept; further ones
/// are dropped.
pub async fn read_line() -> String {
    poll_fn(|context| {
        let mut guard = CONSOLE.borrow();
        let Some(console) = guard.as_mut() else {
            return Poll::Pending;
        };
        if let Some(line) = console.lines.pop_front() {
            return Poll::Ready(line);
        }
        let former = console.reader.replace(context.waker().clone());
        drop(guard);
        drop(former);
        Poll::Pending
    })
    .await
}
