//! Subjects, bindings and what they lead to; the recorded answers are in `recorded`.

use super::*;

fn snapshot(text: &str) -> Snapshot {
    let (objects, errors) = load::load(text.as_bytes());
    assert!(errors.is_empty(), "{errors:?}");
    Snapshot::new(objects)
}

const OBJECTS: &str = "
kind: ClusterRole
metadata: {name: read}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
kind: Role
metadata: {name: own, namespace: a}
rules: [{apiGroups: [''], resources: [pods], verbs: [delete]}]
---
kind: ClusterRoleBinding
metadata: {name: everywhere}
roleRef: {kind: ClusterRole, name: read}
subjects:
- {kind: Group, name: ops}
- {kind: User, name: 'system:serviceaccount:a:ci'}
- {kind: ServiceAccount, name: nowhere}
- {kind: Robot, name: alice}
---
kind: RoleBinding
metadata: {name: in-a, namespace: a}
roleRef: {kind: Role, name: own}
subjects: [{kind: ServiceAccount, name: ci}, {kind: User, name: 'odd:name/with#all'}]
---
kind: RoleBinding
metadata: {name: in-b, namespace: b}
roleRef: {kind: Role, name: own}
subjects: [{kind: User, name: alice}]
---
kind: ClusterRoleBinding
metadata: {name: to-a-role}
roleRef: {kind: Role, name: own}
subjects: [{kind: User, name: alice}]
---
kind: RoleBinding
metadata: {name: cluster-role-in-b, namespace: b}
roleRef: {kind: ClusterRole, name: read}
subjects: [{kind: User, name: alice}]
";

#[track_caller]
fn check(username: &str, groups: &[&str], verb: &str, uri: &str, expected: &str) {
    let snapshot = snapshot(OBJECTS);
    let user = subject::user(username, groups.iter().map(|it| (*it).into()));
    let attributes = Attributes::of_request(&user, verb, uri);
    let grants = snapshot.grants(&attributes);
    let shown: Vec<_> = grants
        .iter()
        .map(|it| format!("{} via {}", it.binding.object_name().path(), it.subject.label()))
        .collect();
    assert_eq!(shown.join(", "), expected, "{username} {verb} {uri}");
    assert_eq!(snapshot.allows(&attributes), is_master(&user) || !grants.is_empty());
}

#[test]
fn who_is_meant() {
    let pod = "/api/v1/namespaces/a/pods/p";
    check("bob", &["ops"], "get", pod, "ClusterRoleBinding/everywhere via Group ops");
    let ci = "system:serviceaccount:a:ci";
    check(ci, &[], "get", pod, "ClusterRoleBinding/everywhere via User system:serviceaccount:a:ci");
    check(ci, &[], "delete", pod, "RoleBinding/a/in-a via ServiceAccount ci");
    check("system:serviceaccount::nowhere", &[], "get", pod, "");
    check("alice", &[], "get", pod, "");
    check("odd:name/with#all", &[], "delete", pod, "RoleBinding/a/in-a via User odd:name/with#all");
    check("root", &[MASTERS], "delete", pod, "");
}

#[test]
fn where_it_counts() {
    let alice = |verb, uri, expected| check("alice", &[], verb, uri, expected);
    alice("get", "/api/v1/namespaces/b/pods/p", "RoleBinding/b/cluster-role-in-b via User alice");
    alice("get", "/api/v1/pods", "");
    // The binding names a Role that is not in its namespace, or has none to look in.
    alice("delete", "/api/v1/namespaces/b/pods/p", "");
    alice("delete", "/api/v1/namespaces/a/pods/p", "");
}

#[test]
fn duplicates_are_told_and_the_last_counts() {
    let twice = format!("{OBJECTS}---\nkind: ClusterRole\nmetadata: {{name: read}}\nrules: []\n");
    let snapshot = snapshot(&twice);
    assert_eq!(snapshot.notes(), ["ClusterRole `read` is there more than once; the last counts"]);
    let user = subject::user("bob", ["ops".into()]);
    assert!(!snapshot.allows(&Attributes::of_request(&user, "get", "/api/v1/namespaces/a/pods/p")));
}

#[test]
fn identities() {
    let snapshot = snapshot(&format!(
        "{OBJECTS}---\nkind: ServiceAccount\nmetadata: {{name: ci, namespace: a}}\n"
    ));
    let shown = |username: &str| {
        serde_json::to_string(&snapshot.identity(&subject::user(username, []))).expect("JSON")
    };
    assert_eq!(
        shown("system:serviceaccount:a:ci"),
        r#"{"kind":"ServiceAccount","name":"ci","namespace":"a","exists":true,"roles":[{"role":"ClusterRole/read","binding":"ClusterRoleBinding/everywhere","via":"User system:serviceaccount:a:ci"},{"role":"Role/own","binding":"RoleBinding/a/in-a","via":"ServiceAccount ci"}]}"#
    );
    assert_eq!(
        shown("system:serviceaccount:a:gone"),
        r#"{"kind":"ServiceAccount","name":"gone","namespace":"a","exists":false,"roles":[]}"#
    );
    assert_eq!(
        shown("system:node:n"),
        r#"{"kind":"Node","name":"n","namespace":null,"exists":null,"roles":[]}"#
    );
}

#[test]
fn ten_thousand_bindings_in_time() {
    let mut objects = Objects::default();
    for n in 0..10_000 {
        let text = format!(
            r#"{{"metadata":{{"name":"b{n}","namespace":"n{}"}},"roleRef":{{"kind":"ClusterRole","name":"view"}},
                "subjects":[{{"kind":"Group","name":"everyone"}},{{"kind":"User","name":"u{n}"}}]}}"#,
            n % 100
        );
        objects.role_bindings.push(serde_json::from_str(&text).expect("a binding"));
    }
    objects.cluster_roles.push(
        serde_json::from_str(r#"{"metadata":{"name":"view"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}"#)
            .expect("a role"),
    );
    let snapshot = Snapshot::new(objects);
    let user = subject::user("u7", ["everyone".into()]);
    assert_eq!(snapshot.grants_for(&user).len(), 10_000);
    let attributes = Attributes::of_request(&user, "get", "/api/v1/namespaces/n7/pods/p");
    assert_eq!(snapshot.grants(&attributes).len(), 100);
}
