//! A decimal number in a text, compared exactly: no digits are lost, however many there are.

use std::cmp::Ordering;

/// A number in its text: `digits` without zeros at either end, as `0.digits` times ten to `exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal<'t> {
    is_negative: bool,
    /// Digits before and behind the point.
    digits: (&'t [u8], &'t [u8]),
    exponent: i64,
}

impl<'t> Decimal<'t> {
    /// Reads a number as JSON writes one (RFC 8259 section 6), or as people do: `0012`, `+5`, `.5`.
    pub(super) fn parse(text: &'t [u8]) -> Option<Decimal<'t>> {
        let (is_negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };

        let none = (&text[..0], text);
        let (whole, rest) = digits(text).unwrap_or(none);
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest)?,
            _ if whole.is_empty() => return None,
            _ => (&rest[..0], rest),
        };

        let power = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => power(rest)?,
            _ => return None,
        };
        let (exponent, digits) = normal(whole, fraction);
        Some(Decimal { is_negative, digits, exponent: power.saturating_add(exponent) })
    }

    fn is_zero(self) -> bool {
        self.digits.0.is_empty() && self.digits.1.is_empty()
    }

    fn size(self, other: Decimal<'_>) -> Ordering {
        let ((a, b), (c, d)) = (self.digits, other.digits);
        self.exponent.cmp(&other.exponent).then_with(|| a.iter().chain(b).cmp(c.iter().chain(d)))
    }

    pub(super) fn cmp(&self, other: &Decimal<'_>) -> Ordering {
        let sign = |it: &Decimal<'_>| match (it.is_zero(), it.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        match (sign(self), sign(other)) {
            (0, 0) => Ordering::Equal,
            (1, 1) => self.size(*other),
            (-1, -1) => other.size(*self),
            (a, b) => a.cmp(&b),
        }
    }
}

/// The digits at the start, at least one, and what follows.
fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let n = text.iter().take_while(|it| it.is_ascii_digit()).count();
    (n > 0).then(|| text.split_at(n))
}

/// What follows the `e`. Where it is out of all proportion, it stays so.
fn power(text: &[u8]) -> Option<i64> {
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (digits, []) = digits(text)? else { return None };
    let add = |sum: i64, digit: &u8| sum.saturating_mul(10).saturating_add((digit - b'0').into());
    // A power may still grow by the length of the digits.
    let power = digits.iter().fold(0, add).min(i64::MAX / 2);
    Some(if is_negative { -power } else { power })
}

/// Both parts without the zeros that begin or end them together, and the place of the first digit.
fn normal<'t>(mut whole: &'t [u8], mut fraction: &'t [u8]) -> (i64, (&'t [u8], &'t [u8])) {
    while let [rest @ .., b'0'] = fraction {
        fraction = rest;
    }
    while let [b'0', rest @ ..] = whole {
        whole = rest;
    }
    let mut exponent = whole.len() as i64;
    if fraction.is_empty() {
        while let [rest @ .., b'0'] = whole {
            whole = rest;
        }
    }
    if whole.is_empty() {
        while let [b'0', rest @ ..] = fraction {
            fraction = rest;
            exponent -= 1;
        }
    }
    (exponent, (whole, fraction))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(a: &str, expected: Ordering, b: &str) {
        let read = |it| Decimal::parse(it).expect("a number");
        let (one, other) = (read(a.as_bytes()), read(b.as_bytes()));
        assert_eq!(one.cmp(&other), expected, "{a} {b}");
        assert_eq!(other.cmp(&one), expected.reverse(), "{b} {a}");
    }

    #[test]
    fn equal() {
        for (a, b) in [
            ("0", "-0.0e9"),
            ("403", "403.0"),
            ("403", "4.03e2"),
            ("403", "40300E-2"),
            ("0.001", "1e-3"),
            ("-1.50", "-15e-1"),
            ("100", "1e+2"),
            ("10.010", "1001e-2"),
            ("0012", "12"),
            ("+5", "5.0"),
            (".5", "0.5"),
            ("-007", "-7"),
            ("0000", "0"),
            ("+1e3", "001000"),
        ] {
            check(a, Ordering::Equal, b);
        }
    }

    #[test]
    fn less() {
        for (a, b) in [
            ("-1", "0"),
            ("-2", "-1"),
            ("9", "10"),
            ("0.09", "0.1"),
            ("9007199254740992", "9007199254740993.0"),
            (
                "111111111111111111111111111111111111111111111",
                "111111111111111111111111111111111111111111112",
            ),
            ("1e998", "1e999"),
            ("0.1", "0.10000000000000000001"),
            ("1e99999999999999999999", "2e99999999999999999999"),
            ("1e-99999999999999999999", "1"),
            ("-1e99999999999999999999", "1e-99999999999999999999"),
        ] {
            check(a, Ordering::Less, b);
        }
    }

    #[test]
    fn no_numbers() {
        for text in [
            "", "-", "+", "1.", ".", "+-1", "1e", "1e+", ".e1", "0x1", "1 ", "NaN", "1_0", "--1",
            "1.e1",
        ] {
            assert!(Decimal::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    proptest! {
        /// Small enough that the machine's own numbers are exact.
        #[test]
        fn as_the_machine_counts(a in -5000_i64..5000, b in -5000_i64..5000, zeros in 0_usize..4, shift in 0_u32..3) {
            let tenth = |it: i64| format!("{}{}.{}{}", if it < 0 { "-" } else { "" }, it.abs() / 10, it.abs() % 10, "0".repeat(zeros));
            let shifted = |it: i64| format!("{}e-{}", it * 10_i64.pow(shift), shift + 1);
            for (one, other) in [(tenth(a), tenth(b)), (tenth(a), shifted(b)), (shifted(a), tenth(b))] {
                let (one, other) = (Decimal::parse(one.as_bytes()), Decimal::parse(other.as_bytes()));
                prop_assert_eq!(one.expect("a number").cmp(&other.expect("a number")), a.cmp(&b));
            }
        }
    }
}
