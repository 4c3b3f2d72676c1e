#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kubectl_audit_fuzz::history(bytes));
