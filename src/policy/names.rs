//! A set of names that is asked often.

/// Names in order, for a binary search: small lists stay small, long ones stay fast.
#[derive(Debug, Clone, Default)]
pub struct Names(Vec<Box<str>>);

impl Names {
    pub fn new(names: &[String]) -> Names {
        let mut names: Vec<Box<str>> = names.iter().map(|it| it.as_str().into()).collect();
        names.sort_unstable();
        names.dedup();
        Names(names)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        match self.0.as_slice() {
            few if few.len() <= 4 => few.iter().any(|it| **it == *name),
            many => many.binary_search_by(|it| (**it).cmp(name)).is_ok(),
        }
    }
}
