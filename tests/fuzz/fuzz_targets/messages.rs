//! A peer on the same host that sends any datagram, says anything on its link
//! and writes anything into what it shares.
#![no_main]
#![forbid(unsafe_code)]

libfuzzer_sys::fuzz_target!(|story: &[u8]| {
    let _counted = sim::puppet::run(story);
});
