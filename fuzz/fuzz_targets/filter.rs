//! Filters, keys, times and expressions: read or refused, whatever the text.
#![no_main]

use kubectl_audit::{
    decode::Projection,
    event::{Key, Timestamp},
    filter::{self, Filter},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let projection = &mut Projection::default();
    let _ = filter::parse(text, projection);
    let _ = filter::resource(text, projection);
    let _ = filter::code(text, projection);
    let _ = filter::time(text, Timestamp(0));
    let _ = Filter::default().and_where(text);
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
});
