//! The short forms: `--verb`, `--subject`, `--namespace`, `--resource`, `--code`.

use super::{Condition, FilterError, Operator, condition::Test, operand::Operand};
use crate::decode::Projection;

/// One of these verbs, separated by commas.
pub fn verb(text: &str, projection: &mut Projection) -> Condition {
    let operands = text.split(',').map(|it| Operand::new(it.trim())).collect();
    Condition::Key(projection.want("verb"), Operator(Test::In(operands)))
}

/// This namespace.
pub fn namespace(text: &str, projection: &mut Projection) -> Condition {
    Condition::Key(projection.want("objectRef.namespace"), Operator::is(text))
}

/// A user by name, or a service account as `NAMESPACE/NAME`; as who authenticated or as who was
/// impersonated.
pub fn subject(text: &str, projection: &mut Projection) -> Condition {
    let mut names = vec![Operand::new(text)];
    if let Some((namespace, name)) = text.split_once('/')
        && !namespace.is_empty()
        && !name.is_empty()
        && !name.contains('/')
    {
        names.push(Operand::new(&format!("system:serviceaccount:{namespace}:{name}")));
    }
    let keys = ["user.username", "impersonatedUser.username"];
    let is_named = |key| Condition::Key(projection.want(key), Operator(Test::In(names.clone())));
    Condition::Any(keys.map(is_named).into())
}

/// Resources as `R`, `R/SUB`, `R/*`, each with `.GROUP` behind it if the group matters (a dot alone is
/// the core group); several separated by commas. `*` stands for any resource.
///
/// # Errors
/// If a part is empty.
pub fn resource(text: &str, projection: &mut Projection) -> Result<Condition, FilterError> {
    let mut any = Vec::new();
    for item in text.split(',') {
        let at = item.as_ptr().addr() - text.as_ptr().addr();
        let (path, group) = item
            .trim()
            .split_once('.')
            .map_or((item.trim(), None), |(path, group)| (path, Some(group)));
        let (resource, subresource) =
            path.split_once('/').map_or((path, None), |(it, sub)| (it, Some(sub)));
        if resource.is_empty() || subresource == Some("") {
            return Err(FilterError::new(text, at, "a resource is expected here")
                .hint("name it as `pods`, `pods/exec`, `pods/*` or `deployments.apps`"));
        }
        let mut key = |key, operator| Condition::Key(projection.want(key), operator);
        let mut all = Vec::new();
        if resource == "*" {
            all.push(key("objectRef.resource", Operator::is_present()));
        } else {
            all.push(key("objectRef.resource", Operator::is(resource)));
        }
        if subresource != Some("*") {
            all.push(key("objectRef.subresource", Operator::is(subresource.unwrap_or_default())));
        }
        if let Some(group) = group {
            all.push(key("objectRef.apiGroup", Operator::is(group)));
        }
        any.push(Condition::All(all));
    }
    Ok(Condition::Any(any))
}

/// Response codes as `403` or `4xx`, several separated by commas.
///
/// # Errors
/// If one is neither.
pub fn code(text: &str, projection: &mut Projection) -> Result<Condition, FilterError> {
    let slot = projection.want("responseStatus.code");
    let mut any = Vec::new();
    for item in text.split(',') {
        let at = item.as_ptr().addr() - text.as_ptr().addr();
        let condition = match item.trim().as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let class = char::from(*class);
                Condition::All(vec![
                    Condition::Key(
                        slot,
                        Operator(Test::Compares(
                            [false, true, true],
                            Operand::new(&format!("{class}00")),
                        )),
                    ),
                    Condition::Key(
                        slot,
                        Operator(Test::Compares(
                            [true, true, false],
                            Operand::new(&format!("{class}99")),
                        )),
                    ),
                ])
            }
            digits if digits.len() == 3 && digits.iter().all(u8::is_ascii_digit) => {
                Condition::Key(slot, Operator::is(item.trim()))
            }
            _ => {
                let err =
                    FilterError::new(text, at, format!("`{}` is no response code", item.trim()));
                return Err(err.hint("give a code as `403`, or a class of codes as `4xx`"));
            }
        };
        any.push(condition);
    }
    Ok(Condition::Any(any))
}
