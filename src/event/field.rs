//! The fields of an event: their names, and the order in which the API server writes them.

/// Generates [`Field`] with everything that depends on its names and their order.
macro_rules! fields {
    ($($variant:ident = $name:literal,)*) => {
        /// A field of an event. Declared, and therefore ordered, as the API server writes them.
        ///
        /// Source: the order of `Event` in `staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Field {
            /// Every field, in the API server's order.
            pub const ALL: [Field; [$($name,)*].len()] = [$(Field::$variant,)*];

            /// Returns the name as it is written in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Field::$variant => $name,)* }
            }

            /// Returns the length of the quoted name with its colon if `text` starts with them.
            /// Every comparison is against a literal, so that its length is known to the compiler.
            #[inline(always)]
            pub fn quoted_len(self, text: &[u8]) -> Option<usize> {
                match self {
                    $(Field::$variant => {
                        const QUOTED: &[u8] = concat!("\"", $name, "\":").as_bytes();
                        text.starts_with(QUOTED).then_some(QUOTED.len())
                    })*
                }
            }
        }
    };
}

fields! {
    Kind = "kind",
    ApiVersion = "apiVersion",
    Level = "level",
    AuditId = "auditID",
    Stage = "stage",
    RequestUri = "requestURI",
    Verb = "verb",
    User = "user",
    ImpersonatedUser = "impersonatedUser",
    AuthenticationMetadata = "authenticationMetadata",
    SourceIps = "sourceIPs",
    UserAgent = "userAgent",
    ObjectRef = "objectRef",
    ResponseStatus = "responseStatus",
    RequestObject = "requestObject",
    ResponseObject = "responseObject",
    RequestReceivedTimestamp = "requestReceivedTimestamp",
    StageTimestamp = "stageTimestamp",
    Annotations = "annotations",
}

impl Field {
    /// Returns the field of exactly this name.
    pub fn from_name(name: &[u8]) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name().as_bytes() == name)
    }

    /// Returns the next field in the API server's order, or `None` after the last.
    #[inline(always)]
    pub fn next(self) -> Option<Field> {
        Field::ALL.get(self as usize + 1).copied()
    }

    /// Returns whether the field comes after the bodies. If such a field is repeated, its last value
    /// counts; of all other fields the first value counts. The fast reader reads a line from both
    /// ends, and every other reader follows its rule. The API server never repeats a field.
    pub fn is_after_bodies(self) -> bool {
        self >= Field::RequestReceivedTimestamp
    }
}

/// A set of fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldSet(u32);

impl FieldSet {
    /// Returns the set of exactly these fields.
    pub const fn new(fields: &[Field]) -> FieldSet {
        let mut bits = 0;
        let mut at = 0;
        while at < fields.len() {
            bits |= 1 << fields[at] as u32;
            at += 1;
        }
        FieldSet(bits)
    }

    /// Adds a field.
    #[inline(always)]
    pub fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u32;
    }

    /// Removes a field.
    #[inline(always)]
    pub fn remove(&mut self, field: Field) {
        self.0 &= !(1 << field as u32);
    }

    /// Returns whether the field is in the set.
    #[inline(always)]
    pub fn contains(self, field: Field) -> bool {
        self.0 & 1 << field as u32 != 0
    }

    /// Returns the fields that are in either set.
    #[inline(always)]
    pub fn union(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 | other.0)
    }

    /// Returns whether every field of `other` is in this set.
    #[inline(always)]
    pub fn contains_all(self, other: FieldSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// Returns whether the set has no field.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_fields_by_name_only() {
        for field in Field::ALL {
            assert_eq!(Field::from_name(field.name().as_bytes()), Some(field));
        }
        assert_eq!(Field::from_name(b"Verb"), None);
        assert_eq!(Field::from_name(b""), None);
    }

    #[test]
    fn compares_quoted_names() {
        assert_eq!(Field::Verb.quoted_len(b"\"verb\":\"get\""), Some(7));
        assert_eq!(Field::Verb.quoted_len(b"\"verbs\":1"), None);
        assert_eq!(Field::User.quoted_len(b"\"userAgent\":\"\""), None);
    }

    #[test]
    fn keeps_sets_of_fields() {
        let mut set = FieldSet::new(&[Field::Kind, Field::Annotations]);
        assert!(set.contains(Field::Kind) && set.contains(Field::Annotations));
        assert!(!set.contains(Field::Verb));
        set.insert(Field::Verb);
        set.remove(Field::Kind);
        assert_eq!(set, FieldSet::new(&[Field::Verb, Field::Annotations]));
        assert!(set.contains_all(FieldSet::new(&[Field::Verb])));
        assert!(!set.contains_all(FieldSet::new(&[Field::Kind])));
    }
}
