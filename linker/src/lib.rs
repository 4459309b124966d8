//! Linking of guest images, for their build scripts.
#![forbid(unsafe_code)]

use std::path::Path;

/// Tells cargo to link the package's binaries as guest images, with the
/// kernel's linker script and nothing from the host.
pub fn image() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("causeway.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,-z,max-page-size=4096,--build-id=none",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
