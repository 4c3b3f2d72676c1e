//! Wrappers: any bytes, as a line and as a document.
#![no_main]

use kubectl_audit::decode::unwrap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    unwrap::is_wrapped(bytes);
    unwrap::line(bytes, &mut |_| {});
    unwrap::read(&mut &*bytes, 1 << 16, &mut |_| {}).1.expect("memory can be read");
});
