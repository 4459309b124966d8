//! The layout of the image in memory (`linker/causeway.ld`).

use super::frame_at;
use crate::page::Pfn;
use core::ops::Range;

unsafe extern "C" {
    static _image_start: u8;
    static _text_end: u8;
    static _rodata_start: u8;
    static _data_start: u8;
    static _pvh_start: u8;
    static _pvh_end: u8;
    static _image_end: u8;
    static boot_stack_guard: u8;
}

/// Returns the frames from one symbol to another.
fn frames(start: *const u8, end: *const u8) -> Range<Pfn> {
    frame_at(start as usize)..(end as usize).div_ceil(crate::page::PAGE_SIZE)
}

/// Returns the frames of the loaded image.
pub(super) fn image() -> Range<Pfn> {
    frames(&raw const _image_start, &raw const _image_end)
}

/// Returns the frames of the instructions.
pub(super) fn text() -> Range<Pfn> {
    frames(&raw const _image_start, &raw const _text_end)
}

/// Returns the frames of the constants.
pub(super) fn constants() -> Range<Pfn> {
    frames(&raw const _rodata_start, &raw const _data_start)
}

/// Returns the frames that only a PVH guest uses.
pub(super) fn only_pvh() -> Range<Pfn> {
    frames(&raw const _pvh_start, &raw const _pvh_end)
}

/// Returns the address of the guard page below the stack.
pub(super) fn stack_guard() -> usize {
    (&raw const boot_stack_guard) as usize
}
