//! `memcpy`, `memmove`, `memset`, `memcmp` and `bcmp`, and the unwinder
//! symbols that precompiled `core` names but an aborting image never calls.
//!
//! They are in assembly, because the compiler would turn a loop in Rust into a
//! call of the very routine that contains it. SSE2 is part of x86-64 and usable
//! in a PV guest. AVX is not until the kernel has enabled it, which it records
//! in the byte `memory_is_wide`.

use core::arch::global_asm;

global_asm!(
    r#"
    .pushsection .bss, "aw", @nobits
    .globl memory_is_wide
    .type memory_is_wide, @object
    .size memory_is_wide, 1
    memory_is_wide:
        .skip   1
    .popsection

    .pushsection .text, "ax", @progbits

    # void *memcpy(rdi dst, rsi src, rdx n), and memmove where dst < src or
    # the two do not overlap: forward, the last 64 bytes read before anything
    # is written, so that an overlapping source is never read late.
    .globl memcpy
    .type memcpy, @function
    .balign 32
    memcpy:
        mov     rax, rdi
    forward:
        cmp     rdx, 16
        jb      3f
        cmp     rdx, 64
        ja      1f
        cmp     rdx, 32
        ja      2f
        movups  xmm0, [rsi]
        movups  xmm1, [rsi + rdx - 16]
        movups  [rdi], xmm0
        movups  [rdi + rdx - 16], xmm1
        ret
    2:  movups  xmm0, [rsi]
        movups  xmm1, [rsi + 16]
        movups  xmm2, [rsi + rdx - 32]
        movups  xmm3, [rsi + rdx - 16]
        movups  [rdi], xmm0
        movups  [rdi + 16], xmm1
        movups  [rdi + rdx - 32], xmm2
        movups  [rdi + rdx - 16], xmm3
        ret
    1:  cmp     rdx, 256
        jb      9f
        cmp     byte ptr [rip + memory_is_wide], 0
        jne     wide
    9:  lea     r8, [rdi + rdx - 64]
        movups  xmm4, [rsi + rdx - 64]
        movups  xmm5, [rsi + rdx - 48]
        movups  xmm6, [rsi + rdx - 32]
        movups  xmm7, [rsi + rdx - 16]
    4:  movups  xmm0, [rsi]
        movups  xmm1, [rsi + 16]
        movups  xmm2, [rsi + 32]
        movups  xmm3, [rsi + 48]
        movups  [rdi], xmm0
        movups  [rdi + 16], xmm1
        movups  [rdi + 32], xmm2
        movups  [rdi + 48], xmm3
        add     rsi, 64
        add     rdi, 64
        cmp     rdi, r8
        jb      4b
        movups  [r8], xmm4
        movups  [r8 + 16], xmm5
        movups  [r8 + 32], xmm6
        movups  [r8 + 48], xmm7
        ret
    3:  cmp     edx, 8
        jae     5f
        cmp     edx, 4
        jae     6f
        test    edx, edx
        jz      7f
        movzx   r8d, byte ptr [rsi]
        movzx   r9d, byte ptr [rsi + rdx - 1]
        cmp     edx, 2
        jbe     8f
        movzx   r10d, byte ptr [rsi + 1]
        mov     [rdi + 1], r10b
    8:  mov     [rdi], r8b
        mov     [rdi + rdx - 1], r9b
    7:  ret
    6:  mov     r8d, [rsi]
        mov     r9d, [rsi + rdx - 4]
        mov     [rdi], r8d
        mov     [rdi + rdx - 4], r9d
        ret
    5:  mov     r8, [rsi]
        mov     r9, [rsi + rdx - 8]
        mov     [rdi], r8
        mov     [rdi + rdx - 8], r9
        ret

    # The same for 256 bytes or more, where AVX is enabled: 18 instructions for
    # 256 bytes. r8 and r9 are 256 bytes before the ends, rcx counts up to 0.
    .balign 32
    wide:
        lea     r8, [rdi + rdx - 256]
        lea     r9, [rsi + rdx - 256]
        mov     ecx, 256
        vmovdqu ymm8, [r9]
        vmovdqu ymm9, [r9 + 32]
        vmovdqu ymm10, [r9 + 64]
        vmovdqu ymm11, [r9 + 96]
        vmovdqu ymm12, [r9 + 128]
        vmovdqu ymm13, [r9 + 160]
        vmovdqu ymm14, [r9 + 192]
        vmovdqu ymm15, [r9 + 224]
        sub     rcx, rdx
        jns     2f
        .balign 32
    1:  vmovdqu ymm0, [r9 + rcx]
        vmovdqu ymm1, [r9 + rcx + 32]
        vmovdqu ymm2, [r9 + rcx + 64]
        vmovdqu ymm3, [r9 + rcx + 96]
        vmovdqu ymm4, [r9 + rcx + 128]
        vmovdqu ymm5, [r9 + rcx + 160]
        vmovdqu ymm6, [r9 + rcx + 192]
        vmovdqu ymm7, [r9 + rcx + 224]
        vmovdqu [r8 + rcx], ymm0
        vmovdqu [r8 + rcx + 32], ymm1
        vmovdqu [r8 + rcx + 64], ymm2
        vmovdqu [r8 + rcx + 96], ymm3
        vmovdqu [r8 + rcx + 128], ymm4
        vmovdqu [r8 + rcx + 160], ymm5
        vmovdqu [r8 + rcx + 192], ymm6
        vmovdqu [r8 + rcx + 224], ymm7
        add     rcx, 256
        js      1b
    2:  vmovdqu [r8], ymm8
        vmovdqu [r8 + 32], ymm9
        vmovdqu [r8 + 64], ymm10
        vmovdqu [r8 + 96], ymm11
        vmovdqu [r8 + 128], ymm12
        vmovdqu [r8 + 160], ymm13
        vmovdqu [r8 + 192], ymm14
        vmovdqu [r8 + 224], ymm15
        vzeroupper
        ret

    # void *memmove(rdi dst, rsi src, rdx n)
    .globl memmove
    .type memmove, @function
    .balign 32
    memmove:
        mov     rax, rdi
        mov     r8, rdi
        sub     r8, rsi
        cmp     r8, rdx
        jae     forward             # dst < src, or no overlap
        cmp     rdx, 64
        jbe     forward             # reads everything before it writes
        movups  xmm4, [rsi]
        movups  xmm5, [rsi + 16]
        movups  xmm6, [rsi + 32]
        movups  xmm7, [rsi + 48]
        add     rsi, rdx
        lea     r8, [rdi + 64]
        add     rdi, rdx
    1:  movups  xmm0, [rsi - 16]
        movups  xmm1, [rsi - 32]
        movups  xmm2, [rsi - 48]
        movups  xmm3, [rsi - 64]
        movups  [rdi - 16], xmm0
        movups  [rdi - 32], xmm1
        movups  [rdi - 48], xmm2
        movups  [rdi - 64], xmm3
        sub     rsi, 64
        sub     rdi, 64
        cmp     rdi, r8
        ja      1b
        movups  [rax], xmm4
        movups  [rax + 16], xmm5
        movups  [rax + 32], xmm6
        movups  [rax + 48], xmm7
        ret

    # void *memset(rdi dst, esi byte, rdx n)
    .globl memset
    .type memset, @function
    .balign 32
    memset:
        mov     rax, rdi
        movzx   esi, sil
        mov     rcx, 0x0101010101010101
        imul    rsi, rcx
        cmp     rdx, 16
        jb      3f
        movq    xmm0, rsi
        punpcklqdq xmm0, xmm0
        cmp     rdx, 256
        jb      6f
        cmp     byte ptr [rip + memory_is_wide], 0
        jne     7f
    6:  lea     r8, [rdi + rdx - 16]
    1:  movups  [rdi], xmm0
        add     rdi, 16
        cmp     rdi, r8
        jb      1b
        movups  [r8], xmm0
        ret
    3:  test    edx, edx
        jz      5f
    4:  mov     [rdi + rdx - 1], sil
        dec     edx
        jnz     4b
    5:  ret
        # 256 bytes a turn, then the last 256, which may overlap.
    7:  vinsertf128 ymm0, ymm0, xmm0, 1
        lea     r8, [rdi + rdx - 256]
    8:  vmovdqu [rdi], ymm0
        vmovdqu [rdi + 32], ymm0
        vmovdqu [rdi + 64], ymm0
        vmovdqu [rdi + 96], ymm0
        vmovdqu [rdi + 128], ymm0
        vmovdqu [rdi + 160], ymm0
        vmovdqu [rdi + 192], ymm0
        vmovdqu [rdi + 224], ymm0
        add     rdi, 256
        cmp     rdi, r8
        jb      8b
        vmovdqu [r8], ymm0
        vmovdqu [r8 + 32], ymm0
        vmovdqu [r8 + 64], ymm0
        vmovdqu [r8 + 96], ymm0
        vmovdqu [r8 + 128], ymm0
        vmovdqu [r8 + 160], ymm0
        vmovdqu [r8 + 192], ymm0
        vmovdqu [r8 + 224], ymm0
        vzeroupper
        ret

    # int memcmp(rdi a, rsi b, rdx n); bcmp asks less and may share it.
    .globl memcmp
    .type memcmp, @function
    .globl bcmp
    .type bcmp, @function
    .balign 32
    memcmp:
    bcmp:
    1:  cmp     rdx, 8
        jb      2f
        mov     rax, [rdi]
        mov     rcx, [rsi]
        cmp     rax, rcx
        jne     4f
        add     rdi, 8
        add     rsi, 8
        sub     rdx, 8
        jmp     1b
    2:  test    rdx, rdx
        jz      3f
        movzx   eax, byte ptr [rdi]
        movzx   ecx, byte ptr [rsi]
        inc     rdi
        inc     rsi
        dec     rdx
        sub     eax, ecx
        jz      2b
        ret
    3:  xor     eax, eax
        ret
    4:  bswap   rax                 # first differing byte decides
        bswap   rcx
        cmp     rax, rcx
        sbb     eax, eax
        or      eax, 1
        ret
    .popsection
    "#
);

#[cfg(not(test))]
global_asm!(
    r#"
    .pushsection .text, "ax", @progbits
    .globl rust_eh_personality
    rust_eh_personality:
    .globl _Unwind_Resume
    _Unwind_Resume:
        ud2
    .popsection
    "#
);

#[cfg(test)]
mod tests;
