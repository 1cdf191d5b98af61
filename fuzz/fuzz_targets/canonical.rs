#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    rightful_fuzz::properties::canonical::check(data);
});
