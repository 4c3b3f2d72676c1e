//! The console blocks of the guide and the README are true.

#[test]
fn guide() {
    trycmd::TestCases::new().case("docs/guide/*.md").case("README.md").case("tests/data/json.md");
}
