//! Provokes what a bug could do to memory, for tests that it ends in a panic and not in
//! silence.

use crate::mem::frames;
use crate::page::PAGE_SIZE;
use core::arch::asm;
use core::hint::black_box;

/// Something that must not go unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A read through a null pointer.
    Null,
    /// A stack that overflows.
    Stack,
    /// A read of a frame without memory.
    Absent,
    /// A write to the instructions. Only a PVH guest notices: the domain builder maps all of a PV
    /// guest's image writable.
    Text,
    /// A jump to data. Only a PVH guest notices.
    Execute,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Null,
        Self::Stack,
        Self::Absent,
        Self::Text,
        Self::Execute,
    ];

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Stack => "stack",
            Self::Absent => "absent",
            Self::Text => "text",
            Self::Execute => "execute",
        }
    }

    /// Provokes it. Returns only if it went unnoticed, after which the guest must not go on.
    pub fn provoke(self) {
        match self {
            Self::Null => read(8),
            Self::Stack => {
                black_box(descend(0));
            }
            Self::Absent => {
                // Memory without use goes back to Xen at boot, from the middle.
                let absent = frames::with(|elastic| elastic.some_absent()).flatten();
                read(absent.expect("a guest with absent memory") * PAGE_SIZE);
            }
            Self::Text => {
                let target = Self::provoke as fn(Self) as usize;
                // SAFETY: none, which is the point: a write that the processor must refuse. What it
                // would write is what is there.
                unsafe {
                    asm!(
                        "mov {byte}, [{target}]",
                        "mov [{target}], {byte}",
                        target = in(reg) target,
                        byte = out(reg_byte) _,
                        options(nostack, preserves_flags)
                    );
                }
            }
            Self::Execute => {
                /// A return instruction, as data.
                static RETURN: [u8; 1] = [0xc3];
                // SAFETY: none, which is the point: a call that the processor must refuse, or that
                // returns at once.
                unsafe { asm!("call {}", in(reg) RETURN.as_ptr(), clobber_abi("C")) };
            }
        }
    }
}

/// Reads from an address.
fn read(address: usize) {
    // SAFETY: none, which is the point: a read that the processor must refuse, and whose value is
    // not used.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) address => _, options(nostack, preserves_flags)) };
}

/// Uses the stack up.
#[expect(unconditional_recursion, reason = "the stack ends first")]
fn descend(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    descend(depth + 1) + room[0]
}
