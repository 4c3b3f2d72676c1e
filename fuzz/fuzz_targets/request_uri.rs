//! Request URIs: path, parameters and what they are requests for.
#![no_main]

use kubectl_audit::event::{Target, uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (_, query) = uri::split(text);
    uri::parameters(query).for_each(drop);
    for verb in ["get", "list", "watch", "deletecollection"] {
        Target::of_request(verb, text);
    }
});
