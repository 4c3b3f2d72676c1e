//! Who a user is in the cloud that runs the cluster, by the `extra` of its authenticator.

/// Returns the short form of a user's identity in its cloud: `aws:ACCOUNT/ROLE/SESSION` for EKS,
/// `entra:OBJECTID` for AKS. `extra` gives the first value of a key of `user.extra`.
///
/// Source: `aws-iam-authenticator` (`arn`, `canonicalArn`, `sessionName`) and AKS's guard (`oid`).
pub fn cloud_identity<'a>(extra: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let value = |key: &str| extra(key).filter(|value| !value.is_empty());
    if let Some(arn) = value("arn").or_else(|| value("canonicalArn")) {
        let mut parts = arn.splitn(6, ':');
        let (Some("arn"), Some(account), Some(resource)) =
            (parts.next(), parts.nth(3), parts.next())
        else {
            return Some(arn.to_owned());
        };
        let resource = resource.strip_prefix("assumed-role/").unwrap_or(resource);
        let session = value("sessionName").filter(|session| {
            resource.starts_with("role/") && !resource.ends_with(&format!("/{session}"))
        });
        let session = session.map_or(String::new(), |session| format!("/{session}"));
        return Some(format!("aws:{account}/{resource}{session}"));
    }
    value("oid").map(|id| format!("entra:{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(extra: &[(&str, &str)], expected: Option<&str>) {
        let value = |key: &str| extra.iter().find(|(it, _)| *it == key).map(|(_, value)| *value);
        assert_eq!(cloud_identity(value).as_deref(), expected);
    }

    #[test]
    fn shortens_identities_of_clouds() {
        let arn = "arn:aws:sts::111122223333:assumed-role/Admin/ann";
        check(&[("arn", arn), ("sessionName", "ann")], Some("aws:111122223333/Admin/ann"));
        let canonical = "arn:aws-cn:iam::111122223333:role/Admin";
        check(
            &[("canonicalArn", canonical), ("sessionName", "ann")],
            Some("aws:111122223333/role/Admin/ann"),
        );
        check(&[("arn", "arn:aws:iam::1:user/ci/bot")], Some("aws:1/user/ci/bot"));
        check(&[("arn", "odd")], Some("odd"));
        check(&[("oid", "0f3c2a81-d04b")], Some("entra:0f3c2a81-d04b"));
        check(&[("oid", "")], None);
        check(&[("authentication.kubernetes.io/credential-id", "JTI=1")], None);
    }
}
