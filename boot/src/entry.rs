//! ELF notes, entry point, hypercall page and trap stubs.
//!
//! The notes are those of `xen/include/public/elfnote.h`; Xen's tools read
//! them in `libelf-dominfo.c`.

use core::arch::global_asm;
use xen_sys::abi;

/// Size in bytes of the guest's single stack. The page below it is a guard
/// page, which the kernel unmaps.
pub const STACK_BYTES: usize = 128 * 1024;

/// Number of trap vectors that have a stub in `trap_stubs`.
pub const TRAP_VECTORS: usize = 20;

/// Distance in bytes from one trap stub to the next.
pub const TRAP_STUB_BYTES: usize = 16;

global_asm!(
    r#"
    .macro xen_note type, kind, value:vararg
        .balign 4
        .long 4                     # "Xen" and its NUL
        .long 2f - 1f
        .long \type
        .asciz "Xen"
    1:  \kind \value
    2:  .balign 4
    .endm

    .pushsection .note.Xen, "a", @note
    xen_note {GUEST_OS}, .asciz, "Causeway"
    xen_note {GUEST_VERSION}, .asciz, "0.1"
    xen_note {XEN_VERSION}, .asciz, "xen-3.0"
    xen_note {VIRT_BASE}, .quad, 0
    xen_note {ENTRY}, .quad, _start
    xen_note {HYPERCALL_PAGE}, .quad, hypercall_page
    xen_note {LOADER}, .asciz, "generic"
    xen_note {PAE_MODE}, .asciz, "yes"
    xen_note {FEATURES}, .asciz, "!writable_page_tables|pae_pgdir_above_4gb"
    xen_note {SUSPEND_CANCEL}, .long, 1
    .popsection

    .pushsection .text.boot, "ax", @progbits
    .globl _start
    .type _start, @function
    _start:
        lea     boot_stack_end(%rip), %rsp
        xor     %ebp, %ebp
        cld
        mov     %rsi, %rdi          # start_info
        call    causeway_start
        ud2

    # Xen writes the 128 hypercall trampolines here (32 bytes each).
    .balign 4096
    .globl hypercall_page
    .type hypercall_page, @function
    hypercall_page:
        .fill   4096, 1, 0xcc

    # Xen pushes SS, RSP, RFLAGS, CS, RIP, the error code of the vectors that
    # have one, R11 and RCX (xen/arch/x86/x86_64/entry.S:create_bounce_frame);
    # a stub adds its vector. A trap is a bug and nothing returns from it, but for
    # an NMI.
    .balign {TRAP_STUB_BYTES}
    .globl trap_stubs
    trap_stubs:
    .set vector, 0
    .rept {TRAP_VECTORS}
        .balign {TRAP_STUB_BYTES}
        push    $vector
        jmp     trap_common
        .set    vector, vector + 1
    .endr
    # An NMI (vector 2, `xl trigger nmi`) comes from outside and is no bug: it is
    # counted, and HYPERVISOR_iret returns to what it interrupted. Masked upcalls
    # do not hold it back, so it can come between any two instructions; the image
    # has no red zone. Xen's stub for iret pushes RCX, R11 and RAX itself
    # (xen/arch/x86/pv/hypercall.c:pv_ring3_init_hypercall_page).
    .globl nmi_stub
    .balign {TRAP_STUB_BYTES}
    nmi_stub:
        pop     %rcx
        pop     %r11
        incq    nmi_count(%rip)
        pushq   $0
        jmp     hypercall_page + {IRET} * 32

    trap_common:
        mov     %rsp, %rdi
        and     $-16, %rsp
        cld
        call    causeway_trap
        ud2
    .popsection

    .pushsection .bss, "aw", @nobits
    .balign 8
    .globl nmi_count
    .type nmi_count, @object
    .size nmi_count, 8
    nmi_count:
        .skip   8
    .popsection

    .pushsection .bss.stack, "aw", @nobits
    .balign 4096
    .globl boot_stack_guard
    boot_stack_guard:
        .skip   4096
        .skip   {STACK_BYTES}
    boot_stack_end:
    .popsection
    "#,
    GUEST_OS = const abi::XEN_ELFNOTE_GUEST_OS,
    GUEST_VERSION = const abi::XEN_ELFNOTE_GUEST_VERSION,
    XEN_VERSION = const abi::XEN_ELFNOTE_XEN_VERSION,
    VIRT_BASE = const abi::XEN_ELFNOTE_VIRT_BASE,
    ENTRY = const abi::XEN_ELFNOTE_ENTRY,
    HYPERCALL_PAGE = const abi::XEN_ELFNOTE_HYPERCALL_PAGE,
    LOADER = const abi::XEN_ELFNOTE_LOADER,
    PAE_MODE = const abi::XEN_ELFNOTE_PAE_MODE,
    FEATURES = const abi::XEN_ELFNOTE_FEATURES,
    SUSPEND_CANCEL = const abi::XEN_ELFNOTE_SUSPEND_CANCEL,
    IRET = const abi::__HYPERVISOR_iret,
    TRAP_VECTORS = const TRAP_VECTORS,
    TRAP_STUB_BYTES = const TRAP_STUB_BYTES,
    STACK_BYTES = const STACK_BYTES,
    options(att_syntax)
);
