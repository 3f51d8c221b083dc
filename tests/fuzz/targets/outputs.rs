#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bastion_migrate::fuzzing::outputs(bytes));
