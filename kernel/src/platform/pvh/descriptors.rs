//! The descriptors of traps: where the processor goes, and on which stack.
//!
//! A trap is reported on a stack of its own, so that an overflow of the guest's
//! stack, whose guard page is unmapped, is a page fault with its address and not a
//! triple fault. The same goes for non-maskable interrupts, which return.

use crate::platform::trap::{NMI, VECTORS, stub};
use core::arch::asm;
use core::cell::UnsafeCell;

unsafe extern "C" {
    static pvh_gdt: u8;
    static pvh_nmi_stub: u8;
    static pvh_trap_stack_end: u8;
    static pvh_nmi_stack_end: u8;
}

/// Selector of the code segment (`boot`).
const CODE: u64 = 0x08;

/// Selector of the task state, and its index in the descriptor table.
const TASK: u16 = 0x18;
const TASK_INDEX: usize = TASK as usize / 8;

/// Attributes of a gate: present, and an interrupt gate.
const GATE: u64 = 0x8e00;

/// Attributes of the descriptor of a task state: present, and available.
const TASK_STATE: u64 = 0x8900;

/// The stacks in the task state's table, from 1 on.
const TRAP_STACK: u64 = 1;
const NMI_STACK: u64 = 2;

/// The task state (Intel SDM volume 3, 8.7), as 32-bit words.
#[repr(C, align(16))]
struct Task([u32; 26]);

/// The first word of the pointer to stack 1.
const FIRST_STACK: usize = 9;

/// The last word holds the offset of the bitmap of ports; one beyond the end means
/// none.
const PORTS: usize = 25;

/// A gate of the interrupt descriptor table, as two words.
type Gate = [u64; 2];

/// Tables that the processor reads and, in the case of the task state, may write.
#[repr(transparent)]
struct Table<T>(UnsafeCell<T>);

// SAFETY: written once at boot, by a guest with one vCPU; only the processor uses them
// afterwards.
unsafe impl<T> Sync for Table<T> {}

static TASK_TABLE: Table<Task> = Table(UnsafeCell::new(Task([0; 26])));
static GATES: Table<[Gate; VECTORS]> = Table(UnsafeCell::new([[0; 2]; VECTORS]));

/// The operand of `lidt`.
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Makes an interrupt gate.
fn gate(handler: u64, stack: u64) -> Gate {
    [
        (handler & 0xffff) | CODE << 16 | stack << 32 | GATE << 32 | (handler >> 16 & 0xffff) << 48,
        handler >> 32,
    ]
}

/// Sets the handlers of all traps, and their stacks.
///
/// # Safety
/// Runs once, on the segments of `boot`.
pub(super) unsafe fn init() {
    let mut task = [0; 26];
    for (stack, end) in [
        (TRAP_STACK, &raw const pvh_trap_stack_end),
        (NMI_STACK, &raw const pvh_nmi_stack_end),
    ] {
        let word = FIRST_STACK + 2 * (stack as usize - 1);
        task[word] = end as u64 as u32;
        task[word + 1] = (end as u64 >> 32) as u32;
    }
    task[PORTS] = (size_of::<Task>() as u32) << 16;
    let mut gates = [[0; 2]; VECTORS];
    for (vector, entry) in gates.iter_mut().enumerate() {
        *entry = match vector {
            NMI => gate((&raw const pvh_nmi_stub) as u64, NMI_STACK),
            _ => gate(stub(vector), TRAP_STACK),
        };
    }
    let (task_base, limit) = (TASK_TABLE.0.get() as u64, size_of::<Task>() as u64 - 1);
    let descriptor = [
        limit | (task_base & 0xff_ffff) << 16 | TASK_STATE << 32 | (task_base >> 24 & 0xff) << 56,
        task_base >> 32,
    ];
    let pointer = Pointer {
        limit: size_of_val(&gates) as u16 - 1,
        base: GATES.0.get() as u64,
    };
    // SAFETY: nothing else refers to these statics; the descriptor table of `boot` has
    // two empty entries for the task state. The gates name handlers, and the processor
    // uses the tables only as set here.
    unsafe {
        TASK_TABLE.0.get().write(Task(task));
        GATES.0.get().write(gates);
        let table = (&raw const pvh_gdt).cast::<u64>().cast_mut();
        table.add(TASK_INDEX).write(descriptor[0]);
        table.add(TASK_INDEX + 1).write(descriptor[1]);
        asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack, preserves_flags));
        asm!("ltr {0:x}", in(reg) TASK, options(nostack, preserves_flags));
    }
}
