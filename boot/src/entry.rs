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

/// The second argument of `causeway_start`: Xen started the image as a PV guest.
pub const PV: u32 = 0;

/// The second argument of `causeway_start`: Xen started the image as a PVH guest.
pub const PVH: u32 = 1;

/// Size in bytes of the stack on which a PVH guest reports a trap.
const TRAP_STACK_BYTES: usize = 16 * 1024;

/// Bits of CR0: protection, x87 and its errors as exceptions, write protection in
/// the kernel too, paging.
const CR0_PE: u32 = 1 << 0;
const CR0_MP: u32 = 1 << 1;
const CR0_NE: u32 = 1 << 5;
const CR0_WP: u32 = 1 << 16;
const CR0_PG: u32 = 1 << 31;

/// Bits of CR4: large page-table entries, SSE and its exceptions.
const CR4_PAE: u32 = 1 << 5;
const CR4_OSFXSR: u32 = 1 << 9;
const CR4_OSXMMEXCPT: u32 = 1 << 10;

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
    xen_note {PHYS32_ENTRY}, .quad, _start_pvh
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
        mov     ${PV}, %esi
        call    causeway_start
        ud2

    # A PVH guest starts here in 32-bit protected mode with flat segments, without
    # paging, with hvm_start_info in EBX (xen/docs/misc/pvh.pandoc).
    .code32
    .globl _start_pvh
    .type _start_pvh, @function
    _start_pvh:
        cld
        movl    $pvh_directories + {PRESENT}, pvh_root
        movl    $pvh_low + {PRESENT}, pvh_directories
        movl    $pvh_window + {PRESENT}, pvh_directories + 511 * 8
        movl    $pvh_window_table + {PRESENT}, pvh_window
        xor     %ecx, %ecx
        mov     ${LARGE}, %eax
    1:  mov     %eax, pvh_low(, %ecx, 8)
        add     $0x200000, %eax
        inc     %ecx
        cmp     $512, %ecx
        jne     1b
        mov     $pvh_root, %eax
        mov     %eax, %cr3
        mov     ${CR4}, %eax
        mov     %eax, %cr4
        mov     ${EFER}, %ecx
        rdmsr
        or      ${EFER_LME}, %eax
        wrmsr
        mov     ${CR0}, %eax
        mov     %eax, %cr0
        lgdt    pvh_gdt_pointer
        ljmp    ${CODE}, $2f
    .code64
    2:  mov     ${DATA}, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        xor     %eax, %eax
        mov     %eax, %fs
        mov     %eax, %gs
        lea     boot_stack_end(%rip), %rsp
        xor     %ebp, %ebp
        fninit
        mov     %ebx, %edi          # hvm_start_info
        mov     ${PVH}, %esi
        call    causeway_start
        ud2

    # Xen writes the 128 hypercall trampolines here (32 bytes each).
    .balign 4096
    .globl hypercall_page
    .type hypercall_page, @function
    hypercall_page:
        .fill   4096, 1, 0xcc

    # Xen pushes SS, RSP, RFLAGS, CS, RIP, the error code of the vectors that
    # have one, R11 and RCX (xen/arch/x86/x86_64/entry.S:create_bounce_frame); in a
    # PVH guest the processor pushes the same without R11 and RCX. A stub adds its
    # vector. A trap is a bug and nothing returns from it, but for an NMI.
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

    # The same in a PVH guest, where the processor itself pushes SS, RSP, RFLAGS, CS
    # and RIP, on a stack of its own (the kernel's descriptors).
    .globl pvh_nmi_stub
    .balign {TRAP_STUB_BYTES}
    pvh_nmi_stub:
        incq    nmi_count(%rip)
        iretq

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

    # The segments of a PVH guest: none, code, data, and room for the descriptor of
    # the task state, which the kernel writes.
    .pushsection .data.pvh, "aw", @progbits
    .balign 8
    .globl pvh_gdt
    pvh_gdt:
        .quad   0
        .quad   0x00af9b000000ffff
        .quad   0x00cf93000000ffff
        .quad   0, 0
    pvh_gdt_pointer:
        .word   . - pvh_gdt - 1
        .long   pvh_gdt
        .long   0
    .popsection

    # What only a PVH guest uses: page tables (the root, the one table below it, the
    # first GiB in large pages, and two for the foreign window), and the stacks of
    # traps and of NMIs. A PV guest has these pages as ordinary memory.
    .pushsection .bss.pvh, "aw", @nobits
    .balign 4096
    .globl pvh_root
    .globl pvh_low
    .globl pvh_trap_stack_end
    .globl pvh_nmi_stack_end
    pvh_root:
        .skip   4096
    pvh_directories:
        .skip   4096
    pvh_low:
        .skip   4096
    pvh_window:
        .skip   4096
    pvh_window_table:
        .skip   4096
        .skip   {TRAP_STACK_BYTES}
    pvh_trap_stack_end:
        .skip   4096
    pvh_nmi_stack_end:
    .popsection
    "#,
    GUEST_OS = const abi::XEN_ELFNOTE_GUEST_OS,
    GUEST_VERSION = const abi::XEN_ELFNOTE_GUEST_VERSION,
    XEN_VERSION = const abi::XEN_ELFNOTE_XEN_VERSION,
    VIRT_BASE = const abi::XEN_ELFNOTE_VIRT_BASE,
    ENTRY = const abi::XEN_ELFNOTE_ENTRY,
    PHYS32_ENTRY = const abi::XEN_ELFNOTE_PHYS32_ENTRY,
    HYPERCALL_PAGE = const abi::XEN_ELFNOTE_HYPERCALL_PAGE,
    LOADER = const abi::XEN_ELFNOTE_LOADER,
    PAE_MODE = const abi::XEN_ELFNOTE_PAE_MODE,
    FEATURES = const abi::XEN_ELFNOTE_FEATURES,
    SUSPEND_CANCEL = const abi::XEN_ELFNOTE_SUSPEND_CANCEL,
    IRET = const abi::__HYPERVISOR_iret,
    PV = const PV,
    PVH = const PVH,
    PRESENT = const 0x3,
    LARGE = const 0x83,
    CR0 = const CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG,
    CR4 = const CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT,
    EFER = const 0xc000_0080_u32,
    EFER_LME = const 1 << 8,
    CODE = const 0x8,
    DATA = const 0x10,
    TRAP_STACK_BYTES = const TRAP_STACK_BYTES,
    TRAP_VECTORS = const TRAP_VECTORS,
    TRAP_STUB_BYTES = const TRAP_STUB_BYTES,
    STACK_BYTES = const STACK_BYTES,
    options(att_syntax)
);
