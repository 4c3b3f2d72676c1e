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

/// Secrets that stand at a place: as arguments and in a script. `X` stands for the secret.
#[rustfmt::skip]
const POSITIONAL_ROWS: &[&str] = &[
    "openssl passwd X", "openssl passwd -1 X", "openssl passwd -6 -salt ab X", "/usr/bin/openssl passwd -apr1 X",
    "htpasswd -bn u X", "htpasswd -nbB u X", "htpasswd -b -n -C 10 u X", "htpasswd -b /etc/file u X",
    "htpasswd -cbB file u X",
    "mkpasswd X", "mkpasswd -m sha-512 X", "wpa_passphrase home X", "slappasswd -s X",
    "caddy hash-password --plaintext X",
    "useradd -m -p X ann", "usermod -p X ann", "net user ann X /add",
    "rabbitmqctl add_user ann X", "rabbitmqctl -n n change_password ann X",
    "grafana-cli admin reset-admin-password X", "etcdctl user add root:X", "etcdctl --user root:X get a",
    "zkCli.sh addauth digest ann:X", "drush upwd ann X",
    "redis-cli -h db AUTH X", "valkey-cli -a X ping",
    "mysqladmin -u root password X", "sqlcmd -S db -U sa -P X", "isql dsn ann X",
    "sqlplus scott/X@db", "sqlplus -s scott/X", "cqlsh -u a -p X", "cypher-shell -u neo4j -p X",
    "nodetool -u a -pw X status", "plink -pw X host", "kadmin.local addprinc -pw X ann",
    "vault login X", "vault login -no-print X", "bao operator unseal X", "vault unwrap X", "vault token revoke X",
    "vault kv put secret/a user=X", "mc alias set m https://h X", "mc admin user add m ann X",
    "kubectl create secret generic s --from-literal=user=X", "oc -n a create secret generic s --from-literal user=X",
    "doctl auth init -t X", "gh secret set NAME --body X",
    "smbclient //srv/share X -U ann", "smbclient -L srv -U ann%X", "rpcclient --user=ann%X srv",
    "skopeo copy --src-creds ann:X a b", "podman pull --creds=ann:X img", "ctr images pull -u ann:X img", "lftp -u ann,X h",
    "curl --oauth2-bearer X h", "curl --pass X h", "curl -E cert.pem:X h",
    "nmcli dev wifi connect home password X", "ipmitool -H h -U a -P X power", "xfreerdp /u:a /p:X /v:h",
    "snmpwalk -v2c -c X h", "snmpget -v3 -u a -A X h", "ldappasswd -x -s X dn",
    "zip -P X a.zip b", "unzip -P X a.zip", "7z a -pX a.7z b", "ssh-keygen -f k -N X",
];

/// The same, with `X` in a script alone.
const SCRIPT_ROWS: &[&str] = &[
    "passwd --stdin ann <<< X",
    "docker login -u ann --password-stdin h <<< X",
    "echo X | passwd --stdin ann",
    "echo X | gh auth login --with-token",
    "echo X | vault login -",
    "printf X | htpasswd -in ann",
];

#[test]
fn positional_secrets() {
    for row in POSITIONAL_ROWS.iter().chain(SCRIPT_ROWS) {
        for secret in ["hunter", "'a b'", "tr0ub4dor+3"] {
            // A quote in the middle of a word is not how anybody writes these.
            if secret.starts_with('\'') && !row.contains(" X") {
                continue;
            }
            let script = row.replace('X', secret);
            let expected = [owned(&["sh", "-c"]), vec![row.replace('X', MASK)]].concat();
            assert_eq!(mask(&[owned(&["sh", "-c"]), vec![script]].concat()), expected);
        }
    }
    for row in POSITIONAL_ROWS {
        for secret in ["hunter", "a b", "p;w'd", "tr0ub4dor+3"] {
            let argv: Vec<String> = row.split(' ').map(|word| word.replace('X', secret)).collect();
            let expected: Vec<String> =
                row.split(' ').map(|word| word.replace('X', MASK)).collect();
            assert_eq!(mask(&argv), expected, "{secret}");
        }
    }
}

#[test]
fn every_positional_rule_has_a_row() {
    for rule in positional::POSITIONAL.iter() {
        let is_used = POSITIONAL_ROWS.iter().chain(SCRIPT_ROWS).any(|row| rule.is_match(row));
        assert!(is_used, "{rule}");
    }
}

/// Arguments of the same programs that are no secrets.
#[test]
fn positional_harmless() {
    for row in [
        "openssl x509 -in a.pem -noout",
        "openssl passwd -1 -stdin",
        "openssl s_client -connect h:443",
        "htpasswd -n ann",
        "htpasswd file ann",
        "mkpasswd -m sha-512 --stdin",
        "useradd -m ann",
        "net user ann /delete",
        "rabbitmqctl list_users",
        "redis-cli ping",
        "redis-cli -h db get auth",
        "vault status",
        "vault kv get secret/a",
        "vault login -method=userpass username=ann",
        "mc alias list",
        "mc cp a b",
        "zip -r a.zip b",
        "7z x a.7z",
        "kubectl create configmap c --from-literal=user=ann",
        "kubectl -n a get pods",
        "smbclient -L srv -N",
        "curl -s https://h/a:b",
        "ssh-keygen -t ed25519 -f k",
        "snmpwalk -v2c h",
        "sqlplus -v",
        "isql -v dsn",
        "ls /usr/bin/openssl passwd",
        "podman run -u 1000:1000 img",
        "influx -port 8086",
        "skopeo copy docker://a docker://b",
        "grafana-cli plugins ls",
        "passwd ann",
    ] {
        let argv: Vec<String> = row.split(' ').map(str::to_owned).collect();
        assert_eq!(mask(&argv), argv);
        let script = owned(&["sh", "-c", row]);
        assert_eq!(mask(&script), script);
    }
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
