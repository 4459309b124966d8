//! A relay session with a good client and a next hop that says anything: the
//! client half and what it makes of failures.
#![no_main]
#![forbid(unsafe_code)]

#[path = "../../../appliances/smtp/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|script: &[u8]| common::script::hop_script(script));
