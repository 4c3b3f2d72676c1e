//! The console blocks of the guide are true.

#[test]
fn guide() {
    trycmd::TestCases::new().case("docs/guide/*.md");
}
