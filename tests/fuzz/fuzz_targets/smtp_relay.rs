//! A relay session with any client and next hops that misbehave in known ways:
//! tests the server half, the message stream and their coupling.
#![no_main]
#![forbid(unsafe_code)]

#[path = "../../../appliances/smtp/tests/common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|script: &[u8]| common::script::client_script(script));
