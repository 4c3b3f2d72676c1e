//! The flags of an API server, from its static pod, and where on the host a file of it is.

use crate::cluster::objects::{Container, Pod};

/// The container of a pod that runs the API server.
pub(super) fn container(pod: &Pod) -> Option<&Container> {
    let containers = pod.spec.containers.as_ref()?;
    let is_server = |it: &&Container| it.name == "kube-apiserver";
    containers.iter().find(is_server).or_else(|| containers.first())
}

/// The value of `--NAME`, as `--NAME=V` or `--NAME V`, in `command` or `args`; the last one counts. A
/// shell's command line (`sh -c 'exec kube-apiserver …'`) is taken apart.
pub fn flag(container: &Container, name: &str) -> Option<String> {
    let all = [&container.command, &container.args].into_iter().flatten().flatten();
    let words: Vec<String> = all
        .flat_map(|it| match it.contains(char::is_whitespace) {
            true => shlex::split(it).unwrap_or_else(|| vec![it.clone()]),
            false => vec![it.clone()],
        })
        .collect();
    let mut found = None;
    for (at, word) in words.iter().enumerate() {
        let Some(rest) = word.trim_start_matches('-').strip_prefix(name) else { continue };
        if !word.starts_with('-') {
            continue;
        }
        match rest.strip_prefix('=') {
            Some(value) => found = Some(value.to_owned()),
            None if rest.is_empty() => found = words.get(at + 1).cloned(),
            None => {}
        }
    }
    found
}

/// Where on the host a path in the container is: through the volume that is mounted there. `None` if
/// it is in no volume from the host.
pub fn host_path(pod: &Pod, container: &Container, path: &str) -> Option<String> {
    let mounts = container.volume_mounts.iter().flatten();
    let (mount, rest) = mounts
        .filter_map(|it| Some((it, below(path, &it.mount_path)?)))
        .max_by_key(|(it, _)| it.mount_path.len())?;
    let volumes = pod.spec.volumes.iter().flatten();
    let volume = volumes.into_iter().find(|it| it.name == mount.name)?;
    let host = volume.host_path.as_ref()?.path.trim_end_matches('/');
    let sub = mount.sub_path.as_deref().map(|it| format!("/{}", it.trim_matches('/')));
    Some(format!("{host}{}{rest}", sub.unwrap_or_default()))
}

/// What follows a folder in a path below it, with the slash; empty for the folder itself.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod with this command, with /var/log/kubernetes/audit of the host at /var/log/audit.
    fn pod(command: &str, args: &str) -> Pod {
        let json = format!(
            r#"{{"spec": {{"containers": [{{"name": "kube-apiserver", "command": {command}, "args": {args},
               "volumeMounts": [{{"name": "log", "mountPath": "/var/log/audit/"}}, {{"name": "root", "mountPath": "/"}},
                 {{"name": "sub", "mountPath": "/sub", "subPath": "a/b"}}, {{"name": "secret", "mountPath": "/secret"}}]}}],
               "volumes": [{{"name": "log", "hostPath": {{"path": "/var/log/kubernetes/audit"}}}},
                 {{"name": "root", "hostPath": {{"path": "/"}}}}, {{"name": "sub", "hostPath": {{"path": "/var/log"}}}},
                 {{"name": "secret", "emptyDir": {{}}}}]}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[track_caller]
    fn check(command: &str, args: &str, expected: Option<&str>) {
        let pod = pod(command, args);
        let found = flag(container(&pod).unwrap(), "audit-log-path");
        assert_eq!(found.as_deref(), expected, "{command} {args}");
    }

    #[track_caller]
    fn check_host(path: &str, expected: Option<&str>) {
        let pod = pod("[]", "[]");
        let found = host_path(&pod, container(&pod).unwrap(), path);
        assert_eq!(found.as_deref(), expected, "{path}");
    }

    #[test]
    fn one_word() {
        check(r#"["kube-apiserver", "--audit-log-path=/a"]"#, "[]", Some("/a"));
    }
    #[test]
    fn two_words_in_args() {
        check(r#"["kube-apiserver"]"#, r#"["--audit-log-path", "/a", "--v=2"]"#, Some("/a"));
    }
    #[test]
    fn shell() {
        check(
            r#"["/bin/sh", "-c", "exec kube-apiserver --audit-log-path=/a 1>>/x"]"#,
            "[]",
            Some("/a"),
        );
    }
    #[test]
    fn last_wins() {
        check(
            r#"["kube-apiserver", "--audit-log-path=/a", "--audit-log-path=/b"]"#,
            "[]",
            Some("/b"),
        );
    }
    #[test]
    fn absent() {
        check(r#"["kube-apiserver", "--audit-log-path-x=/a"]"#, "[]", None);
        check(r#"["kube-apiserver", "--audit-log-path"]"#, "[]", None);
    }
    #[test]
    fn mounted() {
        check_host("/var/log/audit/audit.log", Some("/var/log/kubernetes/audit/audit.log"));
        check_host("/sub/audit.log", Some("/var/log/a/b/audit.log"));
        check_host("/var/log/auditing/audit.log", Some("/var/log/auditing/audit.log"));
    }
    #[test]
    fn not_of_the_host() {
        check_host("/secret/audit.log", None);
    }
}
