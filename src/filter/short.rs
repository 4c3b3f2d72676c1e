//! The short forms: `--verb`, `--subject`, `--namespace`, `--resource`, `--code`.

use super::{Condition, FilterError, Operator, Watch, condition::Test, operand::Operand};
use crate::{
    decode::{Lookup, Projection},
    event::resources,
};

/// One of these verbs, separated by commas.
pub fn verb(text: &str, projection: &mut Projection) -> Condition {
    let operands = text.split(',').map(|it| Operand::new(it.trim())).collect();
    Condition::Key(projection.want("verb").into(), Operator(Test::In(operands)))
}

/// Requests that took longer than this span of time, such as `500ms` or `1m30s`.
///
/// # Errors
/// If it is none.
pub fn slower_than(text: &str, projection: &mut Projection) -> Result<Condition, FilterError> {
    let micros = super::window::duration(text.trim()).and_then(|it| u64::try_from(it).ok());
    let micros = micros.ok_or_else(|| {
        FilterError::new(text, 0, "not a span of time")
            .of_time()
            .hint("give one such as `500ms`, `2s` or `1m30s`")
    })?;
    Ok(Condition::SlowerThan(projection.want("requestReceivedTimestamp"), micros))
}

/// Everything but dry runs.
pub fn no_dry_run(projection: &mut Projection) -> Condition {
    let key = "dryRun".parse().expect("a well-formed key");
    let is_one = Operator(Test::IsNot(Operand::new("true")));
    Condition::Key(Lookup::new(&key, projection), is_one)
}

/// The names in `--verb` and `--resource` that some event should have.
pub fn watches(
    verb: Option<&str>,
    resource: Option<&str>,
    projection: &mut Projection,
) -> Vec<Watch> {
    let mut watches = Vec::new();
    for verb in verb.into_iter().flat_map(|it| it.split(',')) {
        watches.extend(Watch::verb(verb.trim(), projection));
    }
    for item in resource.into_iter().flat_map(|it| it.split(',')) {
        let item = Named::parse(item.trim());
        if item.resource != "*" {
            let meant = resources::meant_by(item.resource);
            watches.push(Watch::resource(item.resource, &meant, projection));
        }
        if let Some(subresource) = item.subresource.filter(|it| *it != "*") {
            watches.extend(Watch::subresource(subresource, projection));
        }
    }
    watches
}

/// `R[/SUB][.VERSION][.GROUP]`.
struct Named<'t> {
    resource: &'t str,
    subresource: Option<&'t str>,
    version: Option<&'t str>,
    group: Option<&'t str>,
}

impl<'t> Named<'t> {
    fn parse(text: &'t str) -> Named<'t> {
        let (path, group) = text.split_once('.').map_or((text, None), |(it, of)| (it, Some(of)));
        let (resource, subresource) =
            path.split_once('/').map_or((path, None), |(it, sub)| (it, Some(sub)));
        // kubectl also takes `deployments.v1.apps`.
        let versioned = group.and_then(|it| it.split_once('.')).filter(|it| is_version(it.0));
        let (version, group) = versioned.map_or((None, group), |(it, of)| (Some(it), Some(of)));
        Named { resource, subresource, version, group }
    }
}

/// `v1`, `v2beta1`.
fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('v') else { return false };
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let rest = rest.split_once("alpha").or_else(|| rest.split_once("beta")).unwrap_or((rest, "1"));
    digits(rest.0) && digits(rest.1)
}

/// This namespace.
pub fn namespace(text: &str, projection: &mut Projection) -> Condition {
    Condition::Key(projection.want("objectRef.namespace").into(), Operator::is(text))
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
    let is_named =
        |key| Condition::Key(projection.want(key).into(), Operator(Test::In(names.clone())));
    Condition::Any(keys.map(is_named).into())
}

/// Resources as `R`, `R/SUB`, `R/*`, each with `.GROUP` behind it if the group matters (a dot alone is
/// the core group); several separated by commas. `*` stands for any resource. R is any name that
/// kubectl takes: `pods`, `pod`, `po`, `Pod`.
///
/// # Errors
/// If a part is empty.
pub fn resource(text: &str, projection: &mut Projection) -> Result<Condition, FilterError> {
    let mut any = Vec::new();
    for item in text.split(',') {
        let at = item.as_ptr().addr() - text.as_ptr().addr();
        let Named { resource, subresource, version, group } = Named::parse(item.trim());
        if resource.is_empty() || subresource == Some("") {
            return Err(FilterError::new(text, at, "a resource is expected here")
                .hint("name it as `pods`, `pods/exec`, `pods/*` or `deployments.apps`"));
        }
        let mut key = |key, operator| Condition::Key(projection.want(key).into(), operator);
        let mut all = Vec::new();
        if resource == "*" {
            all.push(key("objectRef.resource", Operator::is_present()));
        } else {
            let meant = resources::meant_by(resource);
            let is_meant = match &*meant {
                [one] => Operator::is(one),
                all => Operator(Test::In(all.iter().map(|it| Operand::new(it)).collect())),
            };
            all.push(key("objectRef.resource", is_meant));
        }
        if subresource != Some("*") {
            all.push(key("objectRef.subresource", Operator::is(subresource.unwrap_or_default())));
        }
        if let Some(group) = group {
            all.push(key("objectRef.apiGroup", Operator::is(group)));
        }
        if let Some(version) = version {
            all.push(key("objectRef.apiVersion", Operator::is(version)));
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
                        slot.into(),
                        Operator(Test::Compares(
                            [false, true, true],
                            Operand::new(&format!("{class}00")),
                        )),
                    ),
                    Condition::Key(
                        slot.into(),
                        Operator(Test::Compares(
                            [true, true, false],
                            Operand::new(&format!("{class}99")),
                        )),
                    ),
                ])
            }
            digits if digits.len() == 3 && digits.iter().all(u8::is_ascii_digit) => {
                Condition::Key(slot.into(), Operator::is(item.trim()))
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
