//! What a PVH guest needs beyond [`abi`](crate::abi), with the names of Xen's
//! headers: `arch-x86/hvm/start_info.h`, `hvm/params.h`, `hvm/hvm_op.h`,
//! `memory.h`, `arch-x86/cpuid.h`.

/// `XEN_HVM_START_MAGIC_VALUE`.
pub const XEN_HVM_START_MAGIC_VALUE: u32 = 0x336e_c578;

/// `XEN_HVM_MEMMAP_TYPE_RAM`.
pub const XEN_HVM_MEMMAP_TYPE_RAM: u32 = 1;

/// `struct hvm_start_info`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct hvm_start_info {
    /// [`XEN_HVM_START_MAGIC_VALUE`].
    pub magic: u32,
    /// From 1 on there is a memory map.
    pub version: u32,
    /// `SIF_*`.
    pub flags: u32,
    /// Entries of the module list.
    pub nr_modules: u32,
    /// Address of the module list.
    pub modlist_paddr: u64,
    /// Address of the command line, which ends in a NUL, or 0.
    pub cmdline_paddr: u64,
    /// Address of the ACPI root pointer.
    pub rsdp_paddr: u64,
    /// Address of the memory map.
    pub memmap_paddr: u64,
    /// Entries of the memory map.
    pub memmap_entries: u32,
    /// Zero.
    pub reserved: u32,
}

/// `struct hvm_memmap_table_entry`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct hvm_memmap_table_entry {
    /// First byte.
    pub addr: u64,
    /// Size in bytes.
    pub size: u64,
    /// `XEN_HVM_MEMMAP_TYPE_*`.
    pub type_: u32,
    /// Zero.
    pub reserved: u32,
}

/// `HVMOP_set_param`.
pub const HVMOP_set_param: u32 = 0;
/// `HVMOP_get_param`.
pub const HVMOP_get_param: u32 = 1;

/// `struct xen_hvm_param`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct xen_hvm_param {
    /// The domain.
    pub domid: u16,
    /// Unused.
    pub pad: u16,
    /// `HVM_PARAM_*`.
    pub index: u32,
    /// The parameter's value.
    pub value: u64,
}

/// How Xen interrupts the guest for an event.
pub const HVM_PARAM_CALLBACK_IRQ: u32 = 0;
/// The way of interrupting, in the top byte of [`HVM_PARAM_CALLBACK_IRQ`]: by a
/// vector of the vCPU.
pub const HVM_PARAM_CALLBACK_TYPE_VECTOR: u64 = 2;
/// Frame of the xenstore ring.
pub const HVM_PARAM_STORE_PFN: u32 = 1;
/// Event channel of the xenstore ring.
pub const HVM_PARAM_STORE_EVTCHN: u32 = 2;
/// Frame of the console ring.
pub const HVM_PARAM_CONSOLE_PFN: u32 = 17;
/// Event channel of the console ring.
pub const HVM_PARAM_CONSOLE_EVTCHN: u32 = 18;

/// `struct xen_add_to_physmap`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct xen_add_to_physmap {
    /// The domain.
    pub domid: u16,
    /// Unused for these spaces.
    pub size: u16,
    /// `XENMAPSPACE_*`.
    pub space: u32,
    /// Index into the space.
    pub idx: u64,
    /// The guest frame to map at.
    pub gpfn: u64,
}

/// The shared info page.
pub const XENMAPSPACE_shared_info: u32 = 0;
/// A frame of the grant table, which grows for it.
pub const XENMAPSPACE_grant_table: u32 = 1;

/// EBX, ECX and EDX of the CPUID leaf by which Xen is found: "XenVMMXenVMM".
pub const XEN_CPUID_SIGNATURE: [u32; 3] = [0x566e_6558, 0x6558_4d4d, 0x4d4d_566e];
/// The first leaf that can have the signature; it may be some multiple of
/// [`XEN_CPUID_STEP`] higher.
pub const XEN_CPUID_FIRST_LEAF: u32 = 0x4000_0000;
/// Distance between leaves that can have the signature.
pub const XEN_CPUID_STEP: u32 = 0x100;
