#!/bin/sh
# Checks that guest images are freestanding; usage: linker/gates.sh IMAGE...
# Needs binutils. Prints one line per image; exits with 1 unless all of them pass.
set -u
status=0

# gate IMAGE WHAT FOUND: complains if FOUND is not empty.
gate() {
    [ -z "$3" ] && return
    printf '%s: %s:\n%s\n' "$1" "$2" "$3" >&2
    status=1
    held=no
}

for image in "$@"; do
    held=yes
    [ -s "$image" ] || { echo "$image: no such image; run make image" >&2; exit 1; }
    code=$(objdump -d "$image") || exit 1
    sections=$(readelf -SW "$image") || exit 1
    gate "$image" "undefined symbols" "$(nm -u "$image")"
    gate "$image" "it wants a dynamic loader" \
        "$(echo "$sections" | grep -oE '\.(dynamic|interp)\b')"
    gate "$image" "system calls of another kernel" \
        "$(echo "$code" | grep -wE 'syscall|sysenter|int +\$0x80' | head -3)"
    gate "$image" "red zone in use" \
        "$(echo "$code" | grep -E -- '-0x[0-9a-f]+\(%rsp\)' | head -3)"
    [ $held = yes ] && echo "$image: freestanding, $(stat -c %s "$image") bytes"
done
exit $status
