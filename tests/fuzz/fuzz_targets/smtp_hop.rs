//! A relay session with a well-behaved client and a next hop that says
//! anything: tests the client half and how it handles failures.
#![no_main]
#![forbid(unsafe_code)]

#[path = "../../../appliances/smtp/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|script: &[u8]| common::script::hop_script(script));
