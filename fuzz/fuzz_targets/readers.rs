//! The two readers: where the strict one reads a line, the fast one gives the same or hands it over.
#![no_main]

use kubectl_audit::decode::{Projection, Reader, strict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let mut projection = Projection::default();
    for key in [
        "verb",
        "user.username",
        "user.groups[0]",
        "objectRef",
        "responseStatus.code",
        "annotations.a",
        "x.y",
    ] {
        projection.want(key);
    }
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    let fast_head = Reader::new(&projection).read(line, &mut fast);
    let slow_head = strict::read(line, &projection, &mut slow);
    // What nobody looks at may be broken: then only the strict reader refuses it.
    if slow_head.is_ok() {
        assert_eq!(fast_head, slow_head);
        assert_eq!(fast, slow);
    }
});
