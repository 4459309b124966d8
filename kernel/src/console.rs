//! The PV console (`xen/include/public/io/console.h`): two byte rings in one
//! page, 1024 bytes in and 2048 out.
//!
//! What the ring has no room for waits in a bounded backlog, which a task
//! writes out as xenconsoled reads. Beyond the bound output is dropped, and
//! how much is said as soon as there is room.

use crate::bug;
use crate::event::{self, EventChannel};
use crate::hypercall::sched_op;
use crate::lifecycle::{Lifecycle, Outcome};
use crate::page::PAGE_SIZE;
use crate::pv::console_port;
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

/// Bytes that wait for room in the ring, at most.
const BACKLOG: usize = 16 * 1024;

/// Longest line of input; what exceeds it is cut.
const LINE: usize = 256;

/// Lines of input that wait for a reader, at most.
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

/// Starts output.
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

    /// The ring has moved with the guest; its port is the new domain's, and
    /// what the new console daemon has not read yet waits in it.
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
    /// Free bytes of the output ring. Indices that no console daemon would
    /// leave count as a full ring: nothing is written outside of it.
    fn room(&self) -> u32 {
        let consumer = self
            .page
            .load_u32(offset_of!(xencons_interface, out_cons), Ordering::Acquire);
        let producer = self
            .page
            .load_u32(offset_of!(xencons_interface, out_prod), Ordering::Relaxed);
        OUT_SIZE.saturating_sub(producer.wrapping_sub(consumer))
    }

    /// Copies what fits into the ring and returns how much that was.
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

    /// Moves the backlog to the ring; true where all of it has gone.
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
    /// Takes a string; newlines become CR LF, as a terminal wants them.
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
        // `Console` itself never fails; a `Display` that does is cut short.
        let _ = console.write_fmt(text);
        event::notify(console.port);
    }
}

/// Waits, at most for `limit`, until the console daemon has read everything.
/// Blocks the whole guest: for its last words only.
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

/// Serves the console's events: writes out the backlog, collects input.
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
    /// Takes what was typed; the task that waits for a line where one is
    /// complete.
    fn collect_input(&mut self) -> Option<Waker> {
        let producer = self
            .page
            .load_u32(offset_of!(xencons_interface, in_prod), Ordering::Acquire);
        let at = offset_of!(xencons_interface, in_cons);
        let mut consumer = self.page.load_u32(at, Ordering::Relaxed);
        if producer.wrapping_sub(consumer) > IN_SIZE {
            // No console daemon does this; begin again from where it says.
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

/// Waits for the next line typed on the console, without its end. One task at
/// a time may wait. Lines that nobody reads are dropped beyond a small number.
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
