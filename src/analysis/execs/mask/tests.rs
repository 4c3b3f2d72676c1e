//! A row for each kind of secret, and what is none.

use proptest::prelude::*;

use super::*;

/// Commands and how they are shown.
const ROWS: &[(&[&str], &[&str])] = &[
    // Assignments.
    (&["env", "PGPASSWORD=a b", "psql"], &["env", "PGPASSWORD=***", "psql"]),
    (&["env", "PASSWORD=$literal"], &["env", "PASSWORD=***"]),
    (&["sh", "-c", "PGPASSWORD=x psql -h db"], &["sh", "-c", "PGPASSWORD=*** psql -h db"]),
    (&["sh", "-c", "DB_PWD=x API_KEY='y z' run"], &["sh", "-c", "DB_PWD=*** API_KEY=*** run"]),
    (&["sh", "-c", r"TOKEN='it'\''s' run"], &["sh", "-c", "TOKEN=*** run"]),
    (&["sh", "-c", "SECRET=\"never closed"], &["sh", "-c", "SECRET=***"]),
    (&["sh", "-c", "PASSWORD=${P:-hunter2} y"], &["sh", "-c", "PASSWORD=*** y"]),
    (&["x", "--from-literal=db-password=abc"], &["x", "--from-literal=db-password=***"]),
    (&["psql", "host=h password=abc user=u"], &["psql", "host=h password=*** user=u"]),
    // Documents.
    (&[r#"{"password":"hunter2","a":1}"#], &[r#"{"password":***,"a":1}"#]),
    (&["token: abc\nname: x"], &["token: ***\nname: x"]),
    // Flags.
    (&["x", "--password", "a", "b"], &["x", "--password", "***", "b"]),
    (&["x", "--password=X", "-v"], &["x", "--password=***", "-v"]),
    // Stars of the secret's own are none of ours.
    (&["x", "--password=a***b"], &["x", "--password=***"]),
    (&["keytool", "-storepass", "changeit"], &["keytool", "-storepass", "***"]),
    (&["sh", "-c", "x --secret abc -v"], &["sh", "-c", "x --secret *** -v"]),
    (
        &["aws", "configure", "set", "aws_secret_access_key", "x"],
        &["aws", "configure", "set", "aws_secret_access_key", "***"],
    ),
    (
        &["redis-cli", "config", "set", "requirepass", "x"],
        &["redis-cli", "config", "set", "requirepass", "***"],
    ),
    (
        &["sh", "-c", "npm config set //r/:_authToken abc"],
        &["sh", "-c", "npm config set //r/:_authToken ***"],
    ),
    // Flags of a program.
    (&["mysql", "-uroot", "-pX", "db"], &["mysql", "-uroot", "-p***", "db"]),
    (&["mysql", "-psecret", "shop"], &["mysql", "-p***", "shop"]),
    (&["/usr/bin/mysqldump", "-p$ecret"], &["/usr/bin/mysqldump", "-p***"]),
    (
        &["sh", "-c", "mysql -uroot -pX -e 'select 1'"],
        &["sh", "-c", "mysql -uroot -p*** -e 'select 1'"],
    ),
    (&["sshpass", "-p", "-x", "ssh", "h"], &["sshpass", "-p", "***", "ssh", "h"]),
    (&["sh", "-c", "sshpass -p x ssh h"], &["sh", "-c", "sshpass -p *** ssh h"]),
    (&["mongosh", "-u", "a", "-p", "x"], &["mongosh", "-u", "a", "-p", "***"]),
    (&["sh", "-c", "mongo -p x h"], &["sh", "-c", "mongo -p *** h"]),
    (&["redis-cli", "-a", "x", "ping"], &["redis-cli", "-a", "***", "ping"]),
    (&["sh", "-c", "redis-cli -a x ping"], &["sh", "-c", "redis-cli -a *** ping"]),
    (&["ldapsearch", "-x", "-w", "s"], &["ldapsearch", "-x", "-w", "***"]),
    (&["sh", "-c", "ldapwhoami -w s -x"], &["sh", "-c", "ldapwhoami -w *** -x"]),
    (&["kadmin", "-w", "s"], &["kadmin", "-w", "***"]),
    (&["sh", "-c", "kadmin -w s -q x"], &["sh", "-c", "kadmin -w *** -q x"]),
    (
        &["docker", "login", "-u", "a", "-p", "x", "h"],
        &["docker", "login", "-u", "a", "-p", "***", "h"],
    ),
    (&["sh", "-c", "oc login h -p x"], &["sh", "-c", "oc login h -p ***"]),
    (&["curl", "-u", "user:pw", "h"], &["curl", "-u", "user:***", "h"]),
    (&["curl", "-uuser:p:w"], &["curl", "-uuser:***"]),
    (&["curl", "--user=user:pw"], &["curl", "--user=user:***"]),
    (&["sh", "-c", "curl -s -u 'user:pw' h | jq"], &["sh", "-c", "curl -s -u 'user:***' h | jq"]),
    // URLs.
    (&["psql", "postgres://u:p@ss@h/db"], &["psql", "postgres://u:***@h/db"]),
    (&["redis-cli", "-u", "redis://:pw@h"], &["redis-cli", "-u", "redis://:***@h"]),
    (&["git", "clone", "https://0123456789abcdefghij@h/r"], &["git", "clone", "https://***@h/r"]),
    (&["curl", "https://h/x?token=abc&n=1"], &["curl", "https://h/x?token=***&n=1"]),
    (&["curl", "https://h/x?sv=1&sig=abc&n=1"], &["curl", "https://h/x?sv=1&sig=***&n=1"]),
    // Headers.
    (&["curl", "-H", "Authorization: Bearer abc"], &["curl", "-H", "Authorization: Bearer ***"]),
    (
        &["curl", "-H", "Authorization: Digest username=\"a\""],
        &["curl", "-H", "Authorization: Digest ***\"a\""],
    ),
    (&["curl", "-HAuthorization:Basic YTpi"], &["curl", "-HAuthorization:Basic ***"]),
    (
        &["sh", "-c", "curl -H 'authorization: abc def' h"],
        &["sh", "-c", "curl -H 'authorization: ***' h"],
    ),
    (&["x", "send bearer abc"], &["x", "send bearer ***"]),
    (&["curl", "-H", "X-Api-Key: abc"], &["curl", "-H", "X-Api-Key: ***"]),
    (&["curl", "-H", "Cookie: a=b; c=d"], &["curl", "-H", "Cookie: ***"]),
    // Statements and pipes.
    (&["openssl", "rsa", "-passin", "pass:abc"], &["openssl", "rsa", "-passin", "pass:***"]),
    (
        &["psql", "-c", "alter user a with password 'b c'"],
        &["psql", "-c", "alter user a with password ***"],
    ),
    (
        &["mysql", "-e", "create user a identified by \"x\""],
        &["mysql", "-e", "create user a identified by ***"],
    ),
    (&["sh", "-c", "echo root:abc | chpasswd"], &["sh", "-c", "echo *** | chpasswd"]),
    (
        &["sh", "-c", "echo abc | docker login --password-stdin h"],
        &["sh", "-c", "echo *** | docker login --password-stdin h"],
    ),
    // Things that are secrets wherever they stand.
    (
        &["x", "-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC"],
        &["x", "-----BEGIN EC PRIVATE KEY-----***-----END EC"],
    ),
    (&["login", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"], &["login", "***"]),
    (&["sh", "-c", "x AKIAIOSFODNN7EXAMPLE y"], &["sh", "-c", "x *** y"]),
    (&["x", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"], &["x", "***"]),
    (&["x", "ghp_abcdefghijklmnopqrst"], &["x", "***"]),
    (&["login", "aB3dE5gH7jK9mN1pQ3sT5vX7"], &["login", "***"]),
    (&["login", "k3j9x0q7w2m5n8b1v4c6z0l2p7r9t3y5"], &["login", "***"]),
    // `password=hunter2`, `Authorization: Bearer abc`, `postgres://u:p@h/db`, an access key.
    (&["x", "cGFzc3dvcmQ9aHVudGVyMg=="], &["x", "***"]),
    (&["x", "QXV0aG9yaXphdGlvbjogQmVhcmVyIGFiYw=="], &["x", "***"]),
    (
        &["sh", "-c", "echo cG9zdGdyZXM6Ly91OnBAaC9kYg== | base64 -d"],
        &["sh", "-c", "echo *** | base64 -d"],
    ),
    (&["x", "QUtJQUlPU0ZPRE5ON0VYQU1QTEU"], &["x", "***"]),
];

/// Commands without a secret.
const SAME: &[&[&str]] = &[
    &["sh", "-c", "echo $PASSWORD; TOKEN=$(cat /t) x --token \"$T\" -p$P `x`"],
    &["ls", "-la", "/data dir", "/usr/lib/jvm/Java-21-openjdk-amd64/lib", "http://h:80/x"],
    &["x", "--password-file=/run/p", "max_tokens=5", "PWD=/root", "--password", "-v", "a=b"],
    &["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"],
    &["echo", "0123456789abcdef0123456789abcdef", "3ae99dc8-9609-4254-b5ae-246b8848b8f9"],
    &["mysql", "-u", "root", "-p", "db", "--port=3306"],
    &["docker", "run", "-p", "80:80", "nginx:1.25"],
    &["ssh", "-p", "22", "h"],
    &["mkdir", "-p", "/a/b"],
    &["curl", "-u", "user", "http://h:8080?mail=a@b", "-o", "x:y"],
    &["curl", "-H", "Content-Type: application/json", "https://example.com:443/a/b?x=1&y=2"],
    &["tar", "cf", "-", "-C", "/data", "."],
    &["java", "-cp", "src/main/java/com/example/Version2/AbstractFactoryBeanProvider"],
    &["kubectl", "get", "pods", "-l", "app.kubernetes.io/name=My-Application-Name-v2,tier=web"],
    &["cat", "/app/node_modules/@scope/Package-Name-12/dist/index.min.js"],
    &["sha256sum", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    &["nslookup", "web-7d4b9c6f5-x2x9z.shop.svc.cluster.local"],
    &["sh", "-c", "for i in 1 2 3; do echo \"key $i: value\"; done | sort -k2"],
    &["sort", "--key", "-2"],
    &["jq", ".items[].metadata.name"],
    &["$(PASSWORD)", "--token=$(TOKEN)"],
    &[],
    &[""],
];

fn owned(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|&it| it.to_owned()).collect()
}

#[test]
fn secrets() {
    let shown = |argv: &[&str]| mask(&owned(argv));
    let wrong: Vec<_> =
        ROWS.iter().filter(|it| shown(it.0) != it.1).map(|it| (it.0, shown(it.0))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_rule_has_a_row() {
    for rule in RULES.iter() {
        let is_used = ROWS.iter().any(|(argv, _)| argv.iter().any(|it| rule.is_match(it)));
        assert!(is_used, "{rule}");
    }
}

#[test]
fn nothing_else() {
    let wrong: Vec<_> =
        SAME.iter().map(|it| mask(&owned(it))).zip(SAME).filter(|(a, b)| a != *b).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is hidden once stays as it is shown.
#[test]
fn masked_again() {
    for (_, shown) in ROWS {
        let again = mask(&owned(shown));
        let is_kept =
            again.iter().zip(*shown).all(|(a, b)| a == b || a == MASK || a.contains(MASK));
        assert!(is_kept, "{again:?}");
    }
}

#[test]
fn a_long_argument() {
    let long = format!("{} --password x {}", "a ".repeat(4096), "b=".repeat(4096));
    let shown = mask(std::slice::from_ref(&long));
    assert_eq!(shown[0], long.replacen(" x ", " *** ", 1));
}

proptest! {
    #[test]
    fn counts_stay(argv in proptest::collection::vec(any::<String>(), 0..5)) {
        prop_assert_eq!(mask(&argv).len(), argv.len());
    }

    /// A value behind a name that says so is never shown, whatever it is.
    #[test]
    fn values_of_flags(value in "[!-~]{3,12}") {
        prop_assume!(!value.starts_with("$("));
        let shown = mask(&[format!("--password={value}")]);
        prop_assert_eq!(&shown[0], "--password=***");
    }
}
