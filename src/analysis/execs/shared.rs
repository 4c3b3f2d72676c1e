//! Values that many sessions have in common, kept once: users, clients, addresses, grants.

use std::{borrow::Borrow, collections::HashSet, hash::Hash, ops::Deref, sync::Arc};

use serde::{Serialize, Serializer};

use super::session::Person;

/// A value that may be someone else's too.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shared<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> Borrow<T> for Shared<T> {
    fn borrow(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What is known already.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    people: HashSet<Shared<Person>>,
    texts: HashSet<Shared<str>>,
    lists: HashSet<Shared<[String]>>,
}

/// How many different values of a kind are looked up: who makes up more gets copies.
const MOST: usize = 10_000;

impl Pool {
    pub(super) fn person(&mut self, person: Person) -> Shared<Person> {
        share(&mut self.people, &person, || Arc::new(person.clone()))
    }

    pub(super) fn text(&mut self, text: &str) -> Shared<str> {
        share(&mut self.texts, text, || text.into())
    }

    pub(super) fn list(&mut self, list: &[String]) -> Shared<[String]> {
        share(&mut self.lists, list, || list.into())
    }
}

fn share<T: ?Sized + Hash + Eq>(
    known: &mut HashSet<Shared<T>>,
    value: &T,
    make: impl FnOnce() -> Arc<T>,
) -> Shared<T> {
    if let Some(found) = known.get(value) {
        return found.clone();
    }
    if known.len() >= MOST {
        known.clear();
    }
    let made = Shared(make());
    known.insert(made.clone());
    made
}
