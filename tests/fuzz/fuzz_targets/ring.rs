//! A ring whose other side writes anything into header and data at any moment.
#![no_main]
#![forbid(unsafe_code)]

#[path = "../../../vmc/tests/ring_script/mod.rs"]
mod ring_script;

libfuzzer_sys::fuzz_target!(|script: &[u8]| ring_script::run(script));
