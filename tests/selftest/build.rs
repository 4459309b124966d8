//! Links the guest image with the kernel's linker script.

fn main() {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../linker/causeway.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // One page granularity is enough: the image stays small.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,max-page-size=4096,--build-id=none");
}
