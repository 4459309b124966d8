/* What xen-sys takes from Xen's public headers (Debian package libxen-dev).
 * Regenerate src/abi.rs with xen-sys/regenerate.sh after a change here. */
#define __XEN_INTERFACE_VERSION__ 0x00040e00
#include <stdint.h>
#include <xen/xen.h>
#include <xen/sched.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/vcpu.h>
#include <xen/version.h>
#include <xen/callback.h>
#include <xen/elfnote.h>
#include <xen/features.h>
#include <xen/errno.h>
#include <xen/io/ring.h>
#include <xen/io/console.h>
#include <xen/io/xs_wire.h>
#include <xen/io/xenbus.h>
#include <xen/io/netif.h>
