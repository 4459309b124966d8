//! Streams over rings between threads and between processes, with every byte checked.

use std::process::Command;

#[test]
fn every_byte_arrives() {
    for kib in ["4", "64"] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringbench"))
            .args(["--ring-kib", kib, "check"])
            .output()
            .expect("ringbench starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(output.stdout.starts_with(b"every byte arrived"));
    }
}
