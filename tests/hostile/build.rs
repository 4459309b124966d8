//! Links the guest image.

fn main() {
    linker::image();
}
