//! Sessions that talk to one another in memory.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use greenstack_hub::tls::{
    ClientConfig, ClientOptions, CommonOptions, Identity, MAX_PLAINTEXT, ServerConfig, ServerOptions,
    Session, TlsError, Version, WIRE_SIZE,
};

/// Certificates made for this run by the `openssl` program.
struct Pki {
    root: String,
    other_root: String,
    /// For `a.test`, `*.wild.test` and 127.0.0.1.
    server: (String, String),
    client: (String, String),
    expired: (String, String),
    self_signed: (String, String),
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let folder = Folder::new("pki");
        let is_root = "basicConstraints=critical,CA:TRUE";
        let root = folder.sign_itself("root", is_root);
        let other_root = folder.sign_itself("other", is_root);
        let names = "subjectAltName=DNS:a.test,DNS:*.wild.test,IP:127.0.0.1";
        Pki {
            server: folder.issue("server", names, "20500101000000Z"),
            client: folder.issue("client", names, "20500101000000Z"),
            expired: folder.issue("expired", names, "20210101000000Z"),
            // As `openssl req -x509` makes them: marked as a root's.
            self_signed: folder.make("self", &["-x509", "-addext", names, "-addext", is_root]),
            root: root.0,
            other_root: other_root.0,
        }
    })
}

struct Folder(PathBuf);

const REQUEST: &str = "[req]\ndistinguished_name = dn\n[dn]\n";
const ISSUER: &str = "[ca]\ndefault_ca = issuer\n[issuer]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\n\
    policy = policy\ndefault_md = sha256\ncopy_extensions = copy\nunique_subject = no\n[policy]\ncommonName = optional\n";

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("greenstack-{name}-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0).unwrap();
        for (file, content) in [("request", REQUEST), ("issuer", ISSUER), ("index", "")] {
            std::fs::write(folder.0.join(file), content).unwrap();
        }
        folder
    }

    fn openssl(&self, arguments: &[&str]) {
        let done = Command::new("openssl").args(arguments).current_dir(&self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Makes a key, and a certificate or the request for one.
    fn make(&self, name: &str, options: &[&str]) -> (String, String) {
        let (certificate, key, subject) =
            (format!("{name}.pem"), format!("{name}.key"), format!("/CN={name}"));
        let fixed =
            ["req", "-new", "-config", "request", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let named = ["-nodes", "-subj", &subject, "-keyout", &key, "-out", &certificate];
        self.openssl(&[&fixed[..], &named[..], options].concat());
        (self.read(&certificate), self.read(&key))
    }

    fn sign_itself(&self, name: &str, extension: &str) -> (String, String) {
        self.make(name, &["-x509", "-addext", extension])
    }

    fn issue(&self, name: &str, extension: &str, end: &str) -> (String, String) {
        let (_, key) = self.make(name, &["-addext", extension]);
        let request = format!("{name}.pem");
        let fixed =
            ["ca", "-batch", "-notext", "-config", "issuer", "-cert", "root.pem", "-keyfile", "root.key"];
        self.openssl(
            &[
                &fixed[..],
                &["-startdate", "20200101000000Z", "-enddate", end, "-in", &request, "-out", "issued"],
            ]
            .concat(),
        );
        (self.read("issued"), key)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn identity<'a>(name: &'a str, (certificate, key): &'a (String, String)) -> Identity<'a> {
    Identity { name, certificate, key }
}

const COMMON: CommonOptions<'_> = CommonOptions {
    identities: &[],
    roots: &[],
    reject_unauthorized: true,
    alpn_protocols: &[],
    ciphers: &[],
    versions: (Version::Tls12, Version::Tls13),
    resumption: true,
    log_keys: false,
};

fn client_config(common: CommonOptions<'_>) -> ClientConfig {
    ClientConfig::new(&ClientOptions { common, check_name: true }).unwrap()
}

fn server_config(common: CommonOptions<'_>) -> ServerConfig {
    ServerConfig::new(&ServerOptions { common, request_certificate: false, name_roots: true }).unwrap()
}

fn trusting_client() -> ClientConfig {
    client_config(CommonOptions { roots: &[&pki().root], ..COMMON })
}

fn plain_server() -> ServerConfig {
    server_config(CommonOptions { identities: &[identity("", &pki().server)], ..COMMON })
}

/// Two ends with a wire between them that hands over `step` bytes at once.
struct Pair {
    client: Session,
    server: Session,
    step: usize,
}

impl Pair {
    fn new(client: &ClientConfig, name: &str, server: &ServerConfig) -> Self {
        Self {
            client: Session::client(client, name).unwrap(),
            server: Session::server(server).unwrap(),
            step: usize::MAX,
        }
    }

    /// Moves everything both ways until nothing is left to be sent. What was received stays in the sessions.
    fn flow(&mut self) -> Result<(), TlsError> {
        loop {
            let there = carry(&mut self.client, &mut self.server, self.step);
            let back = carry(&mut self.server, &mut self.client, self.step);
            if !(there? | back?) {
                return Ok(());
            }
        }
    }
}

/// Moves up to `step` bytes. Returns whether there were any.
fn carry(from: &mut Session, to: &mut Session, step: usize) -> Result<bool, TlsError> {
    let count = from.outgoing().len().min(step).min(WIRE_SIZE);
    if count == 0 {
        return Ok(false);
    }
    let mut wire = vec![0; to.unprocessed() + count];
    let free = to.unprocessed();
    wire[free..].copy_from_slice(&from.outgoing()[..count]);
    from.note_sent(count);
    to.process(&mut wire, count, &mut [])?;
    Ok(true)
}

fn send(session: &mut Session, mut data: &[u8]) {
    let mut wire = vec![0; WIRE_SIZE];
    while !data.is_empty() {
        let (taken, count) = session.encrypt(data, &mut wire).unwrap();
        session.keep_outgoing(&wire[..count]);
        data = &data[taken..];
    }
}

fn close(session: &mut Session) {
    let mut wire = vec![0; WIRE_SIZE];
    let count = session.close_notify(&mut wire).unwrap();
    session.keep_outgoing(&wire[..count]);
}

fn received(session: &mut Session) -> Vec<u8> {
    let mut all = vec![0; session.readable()];
    assert_eq!(session.take_plaintext(&mut all), all.len());
    all
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position * 31 % 251) as u8).collect()
}

#[test]
fn data_flows_both_ways_in_pieces_of_any_size() {
    for versions in [(Version::Tls12, Version::Tls12), (Version::Tls13, Version::Tls13)] {
        for step in [1, 7, 1000, usize::MAX] {
            let client = client_config(CommonOptions { roots: &[&pki().root], versions, ..COMMON });
            let mut pair = Pair::new(&client, "a.test", &plain_server());
            pair.step = step;
            pair.flow().unwrap();
            assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
            let data = pattern(if step < 1000 { 40_000 } else { 3 * MAX_PLAINTEXT + 1 });
            send(&mut pair.client, &data);
            send(&mut pair.server, b"hello");
            pair.flow().unwrap();
            assert!(received(&mut pair.server) == data, "step {step}");
            assert_eq!(received(&mut pair.client), b"hello");
            close(&mut pair.client);
            pair.flow().unwrap();
            assert!(pair.server.peer_closed() && !pair.client.peer_closed());
            send(&mut pair.server, b"after");
            close(&mut pair.server);
            pair.flow().unwrap();
            assert_eq!(received(&mut pair.client), b"after");
            assert!(pair.client.peer_closed());
        }
    }
}

#[test]
fn plaintext_goes_where_there_is_room_and_the_rest_is_kept_in_order() {
    let mut pair = Pair::new(&trusting_client(), "a.test", &plain_server());
    pair.flow().unwrap();
    let data = pattern(40_000);
    send(&mut pair.client, &data);
    let mut wire = vec![0; WIRE_SIZE];
    let count = pair.client.outgoing().len();
    wire[..count].copy_from_slice(pair.client.outgoing());
    let mut start = vec![0; 100];
    assert_eq!(pair.server.process(&mut wire, count, &mut start), Ok(100));
    assert_eq!(pair.server.readable(), data.len() - 100);
    start.extend(received(&mut pair.server));
    assert!(start == data);
}

#[test]
fn what_is_agreed_on_is_told() {
    let client = client_config(CommonOptions {
        roots: &[&pki().root],
        alpn_protocols: &["h2", "http/1.1"],
        ciphers: &["ECDHE-ECDSA-AES128-GCM-SHA256"],
        versions: (Version::Tls12, Version::Tls12),
        ..COMMON
    });
    let server = server_config(CommonOptions {
        identities: &[identity("", &pki().server)],
        alpn_protocols: &["http/1.1"],
        ..COMMON
    });
    let mut pair = Pair::new(&client, "x.wild.test", &server);
    assert_eq!(pair.client.agreed(), None);
    pair.flow().unwrap();
    for session in [&pair.client, &pair.server] {
        let agreed = session.agreed().unwrap();
        assert_eq!(agreed.protocol, "TLSv1.2");
        assert_eq!(agreed.cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
        assert_eq!(agreed.standard_cipher, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(agreed.alpn_protocol, "http/1.1");
        assert_eq!(agreed.server_name, "x.wild.test");
        assert!(!agreed.resumed && agreed.objection.is_none());
    }
    assert_eq!(pair.client.peer_certificates().len(), 1);
    assert!(pair.server.peer_certificates().is_empty());
}

#[test]
fn a_server_that_has_an_order_of_ciphers_keeps_it() {
    let both = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"];
    let swapped = [both[1], both[0]];
    let client = client_config(CommonOptions { roots: &[&pki().root], ciphers: &both, ..COMMON });
    for (ciphers, expected) in [(&swapped[..], swapped[0]), (&[], both[0])] {
        let server =
            server_config(CommonOptions { identities: &[identity("", &pki().server)], ciphers, ..COMMON });
        let mut pair = Pair::new(&client, "a.test", &server);
        pair.flow().unwrap();
        assert_eq!(pair.client.agreed().unwrap().cipher, expected);
    }
}

#[test]
fn sessions_are_resumed_by_the_same_config() {
    for versions in [(Version::Tls12, Version::Tls12), (Version::Tls13, Version::Tls13)] {
        let client = client_config(CommonOptions { roots: &[&pki().root], versions, ..COMMON });
        let server = plain_server();
        for expected in [false, true, true] {
            let mut pair = Pair::new(&client, "a.test", &server);
            pair.flow().unwrap();
            assert_eq!(pair.client.agreed().unwrap().resumed, expected);
            assert_eq!(pair.server.agreed().unwrap().resumed, expected);
            assert_eq!(pair.server.agreed().unwrap().server_name, "a.test");
        }
        let forgetful = server_config(CommonOptions {
            identities: &[identity("", &pki().server)],
            resumption: false,
            ..COMMON
        });
        for _ in 0..2 {
            let mut pair = Pair::new(&client, "a.test", &forgetful);
            pair.flow().unwrap();
            assert!(!pair.client.agreed().unwrap().resumed);
        }
    }
}

fn refusal(client: &ClientConfig, name: &str, server: &ServerConfig) -> (TlsError, TlsError) {
    let mut pair = Pair::new(client, name, server);
    assert!(pair.flow().is_err());
    // The alert reaches the other end.
    let _ = pair.flow();
    (pair.client.failure().unwrap().clone(), pair.server.failure().unwrap().clone())
}

#[test]
fn certificates_are_refused_for_what_is_wrong_with_them() {
    let with = |identity| server_config(CommonOptions { identities: &[identity], ..COMMON });
    let distrusting = client_config(CommonOptions { roots: &[&pki().other_root], ..COMMON });
    let rootless = client_config(COMMON);
    let chain = (format!("{}{}", pki().server.0, pki().root), pki().server.1.clone());
    let cases = [
        (
            trusting_client(),
            "b.test",
            identity("", &pki().server),
            "ERR_TLS_CERT_ALTNAME_INVALID",
            "bad_certificate",
        ),
        (
            trusting_client(),
            "127.0.0.2",
            identity("", &pki().server),
            "ERR_TLS_CERT_ALTNAME_INVALID",
            "bad_certificate",
        ),
        (
            trusting_client(),
            "a.test",
            identity("", &pki().expired),
            "CERT_HAS_EXPIRED",
            "certificate_expired",
        ),
        (
            distrusting.clone(),
            "a.test",
            identity("", &pki().server),
            "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            "unknown_ca",
        ),
        (rootless, "a.test", identity("", &pki().server), "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "unknown_ca"),
        (distrusting.clone(), "a.test", identity("", &chain), "SELF_SIGNED_CERT_IN_CHAIN", "unknown_ca"),
        (
            distrusting,
            "a.test",
            identity("", &pki().self_signed),
            "DEPTH_ZERO_SELF_SIGNED_CERT",
            "certificate_unknown",
        ),
    ];
    for (client, name, identity, code, alert) in cases {
        let (by_client, by_server) = refusal(&client, name, &with(identity));
        assert_eq!(by_client.code, code, "{by_client}");
        assert_eq!(by_server.code, "EPROTO");
        assert!(by_server.message.contains(alert), "{by_server} instead of {alert}");
    }
}

#[test]
fn the_names_of_a_certificate_are_told_when_it_is_for_others() {
    let (by_client, _) = refusal(&trusting_client(), "b.test", &plain_server());
    assert_eq!(
        by_client.message,
        "Hostname/IP does not match certificate's altnames: Host: b.test is not in the cert's altnames: \
         DNS:a.test, DNS:*.wild.test, IP Address:127.0.0.1"
    );
}

#[test]
fn a_self_signed_certificate_is_trusted_for_itself() {
    let client = client_config(CommonOptions { roots: &[&pki().self_signed.0], ..COMMON });
    let server = server_config(CommonOptions { identities: &[identity("", &pki().self_signed)], ..COMMON });
    Pair::new(&client, "a.test", &server).flow().unwrap();
    let (by_client, _) = refusal(&client, "b.test", &server);
    assert_eq!(by_client.code, "ERR_TLS_CERT_ALTNAME_INVALID");
}

#[test]
fn whoever_rejects_nobody_is_told_the_objection_also_on_resumption() {
    let client = client_config(CommonOptions { reject_unauthorized: false, ..COMMON });
    let server = plain_server();
    for resumed in [false, true] {
        let mut pair = Pair::new(&client, "b.test", &server);
        pair.flow().unwrap();
        let agreed = pair.client.agreed().unwrap();
        assert_eq!(agreed.resumed, resumed);
        assert_eq!(agreed.objection.unwrap().code, "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
    }
}

fn asking_server(reject_unauthorized: bool) -> ServerConfig {
    ServerConfig::new(&ServerOptions {
        common: CommonOptions {
            identities: &[identity("", &pki().server)],
            roots: &[&pki().root],
            reject_unauthorized,
            ..COMMON
        },
        request_certificate: true,
        name_roots: true,
    })
    .unwrap()
}

#[test]
fn clients_show_their_certificates() {
    let client = |shown: &(String, String)| {
        client_config(CommonOptions { roots: &[&pki().root], identities: &[identity("", shown)], ..COMMON })
    };
    let mut pair = Pair::new(&client(&pki().client), "a.test", &asking_server(true));
    pair.flow().unwrap();
    assert_eq!(pair.server.peer_certificates().len(), 1);
    assert_eq!(pair.server.agreed().unwrap().objection, None);

    let mut pair = Pair::new(&client(&pki().self_signed), "a.test", &asking_server(true));
    assert_eq!(pair.flow().unwrap_err().code, "DEPTH_ZERO_SELF_SIGNED_CERT");
    assert_eq!(pair.server.peer_certificates().len(), 1, "the refused certificate can be looked at");

    let (by_client, by_server) = refusal(&trusting_client(), "a.test", &asking_server(true));
    assert!(by_server.message.contains("no certificate"), "{by_server}");
    assert!(by_client.message.contains("certificate_required"), "{by_client}");

    for (config, code) in [
        (trusting_client(), Some("UNABLE_TO_GET_ISSUER_CERT")),
        (client(&pki().self_signed), Some("DEPTH_ZERO_SELF_SIGNED_CERT")),
        (client(&pki().client), None),
    ] {
        let mut pair = Pair::new(&config, "a.test", &asking_server(false));
        pair.flow().unwrap();
        assert_eq!(pair.server.agreed().unwrap().objection.map(|objection| objection.code), code);
    }
}

#[test]
fn the_server_shows_the_certificate_of_the_name() {
    let folder = Folder::new("sni");
    let make = |name: &str| folder.sign_itself(name, &format!("subjectAltName=DNS:{name}"));
    let (one, wild, rest) = (make("one.test"), make("x.test"), make("rest.test"));
    let server = server_config(CommonOptions {
        identities: &[identity("one.test", &one), identity("*.test", &wild), identity("", &rest)],
        ..COMMON
    });
    for (name, shown) in
        [("one.test", &one), ("ONE.test", &one), ("x.test", &wild), ("a.b.test", &rest), ("127.0.0.1", &rest)]
    {
        let client =
            client_config(CommonOptions { roots: &[&shown.0], reject_unauthorized: false, ..COMMON });
        let mut pair = Pair::new(&client, name, &server);
        pair.flow().unwrap();
        let trusted = pair.client.agreed().unwrap().objection;
        assert!(
            trusted.as_ref().is_none_or(|objection| objection.code == "ERR_TLS_CERT_ALTNAME_INVALID"),
            "{name}: {trusted:?}"
        );
    }
    let nobody = server_config(CommonOptions { identities: &[identity("one.test", &one)], ..COMMON });
    assert!(Pair::new(&trusting_client(), "two.test", &nobody).flow().is_err());
}

#[test]
fn garbage_is_answered_by_an_alert() {
    let mut server = Session::server(&plain_server()).unwrap();
    let garbage = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut wire = vec![0; WIRE_SIZE];
    wire[..garbage.len()].copy_from_slice(garbage);
    let error = server.process(&mut wire, garbage.len(), &mut []).unwrap_err();
    assert_eq!(error.code, "EPROTO");
    assert!(error.message.contains("not TLS"), "{error}");
    assert_eq!(server.outgoing()[0], 21, "an alert");
    assert_eq!(server.process(&mut wire, 0, &mut []), Err(error.clone()), "it stays failed");
    assert_eq!(server.encrypt(b"x", &mut wire), Err(error));
}

#[test]
fn tampering_is_noticed() {
    let mut pair = Pair::new(&trusting_client(), "a.test", &plain_server());
    pair.flow().unwrap();
    send(&mut pair.client, b"hello");
    let mut wire = pair.client.outgoing().to_vec();
    *wire.last_mut().unwrap() ^= 1;
    let count = wire.len();
    assert_eq!(pair.server.process(&mut wire, count, &mut []).unwrap_err().code, "EPROTO");
}

#[test]
fn random_bytes_never_do_more_than_fail() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for _ in 0..300 {
        let mut pair = Pair::new(&trusting_client(), "a.test", &plain_server());
        // Some bytes of the real hello, one of them changed, followed by noise.
        let mut hello = pair.client.outgoing().to_vec();
        hello.truncate(random() % hello.len() + 1);
        let place = random() % hello.len();
        hello[place] = random() as u8;
        hello.extend((0..random() % 300).map(|_| random() as u8));
        while !hello.is_empty() {
            let count = (random() % hello.len() + 1).min(hello.len());
            let free = pair.server.unprocessed();
            let mut wire = vec![0; free + count];
            wire[free..].copy_from_slice(&hello[..count]);
            if pair.server.process(&mut wire, count, &mut []).is_err() {
                break;
            }
            hello.drain(..count);
        }
    }
}

#[test]
fn bytes_behind_the_end_are_not_lost() {
    let mut pair = Pair::new(&trusting_client(), "a.test", &plain_server());
    pair.flow().unwrap();
    send(&mut pair.client, b"last");
    close(&mut pair.client);
    pair.client.keep_outgoing(b"plain text");
    pair.flow().unwrap();
    assert_eq!(received(&mut pair.server), b"last");
    assert!(pair.server.peer_closed());
    assert_eq!(pair.server.take_remainder(), b"plain text");
}

#[test]
fn a_message_without_end_is_refused() {
    let mut server = Session::server(&plain_server()).unwrap();
    let mut failed = false;
    for index in 0..2000u32 {
        // Records with one byte each of a ClientHello that says that it has 65,000.
        let byte = [1, 0, 0xfd, 0xe8].get(index as usize).copied().unwrap_or(0);
        let record = [22, 3, 1, 0, 60].into_iter().chain([byte]).chain([0; 59]).collect::<Vec<u8>>();
        let free = server.unprocessed();
        let mut wire = vec![0; free + record.len()];
        wire[free..].copy_from_slice(&record);
        assert!(free <= WIRE_SIZE, "{free}");
        if server.process(&mut wire, record.len(), &mut []).is_err() {
            failed = true;
            break;
        }
    }
    assert!(failed);
}

#[test]
fn keys_are_logged_in_the_format_of_nss() {
    let client = client_config(CommonOptions { roots: &[&pki().root], log_keys: true, ..COMMON });
    Pair::new(&client, "a.test", &plain_server()).flow().unwrap();
    let log = client.take_key_log();
    assert_eq!(log.lines().count(), 5, "{log}");
    assert!(log.starts_with("CLIENT_HANDSHAKE_TRAFFIC_SECRET "), "{log}");
    assert_eq!(client.take_key_log(), "");
}

#[test]
fn options_that_cannot_be_used_are_named() {
    let pki = pki();
    let broken = pki.server.0.replace("-----END", "");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for (certificate, key, argument, problem) in [
        ("", pki.server.1.as_str(), "cert", "no PEM section"),
        (&broken, &pki.server.1, "cert", "cut off"),
        (not_a_certificate, &pki.server.1, "cert", "cannot be used"),
        (&pki.server.0, "nothing", "key", "no PEM section"),
        (&pki.server.0, encrypted, "key", "encrypted"),
        (&pki.server.0, not_a_key, "key", "not supported"),
        (&pki.server.0, &pki.client.1, "key", "not the key"),
    ] {
        let identities = &[Identity { name: "", certificate, key }];
        let common = CommonOptions { identities, ..COMMON };
        let error = ClientConfig::new(&ClientOptions { common, check_name: true }).err().unwrap();
        assert_eq!(error.argument, argument, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    for (common, argument) in [
        (CommonOptions { roots: &["no pem"], ..COMMON }, "ca"),
        (CommonOptions { roots: &[not_a_certificate], ..COMMON }, "ca"),
        (CommonOptions { ciphers: &["RC4"], ..COMMON }, "ciphers"),
        (
            CommonOptions {
                ciphers: &["TLS_AES_128_GCM_SHA256"],
                versions: (Version::Tls12, Version::Tls12),
                ..COMMON
            },
            "ciphers",
        ),
    ] {
        let error = ClientConfig::new(&ClientOptions { common, check_name: true }).err().unwrap();
        assert_eq!(error.argument, argument, "{error}");
    }
    assert_eq!(Session::client(&trusting_client(), "no name").err().unwrap().argument, "servername");
}

#[test]
fn whoever_has_nothing_in_common_is_told() {
    let old = client_config(CommonOptions {
        roots: &[&pki().root],
        versions: (Version::Tls12, Version::Tls12),
        alpn_protocols: &["one"],
        ..COMMON
    });
    let new = server_config(CommonOptions {
        identities: &[identity("", &pki().server)],
        versions: (Version::Tls13, Version::Tls13),
        ..COMMON
    });
    let (by_client, by_server) = refusal(&old, "a.test", &new);
    assert!(by_client.message.contains("protocol_version"), "{by_client}");
    assert!(by_server.message.contains("no protocol version"), "{by_server}");
    let other = server_config(CommonOptions {
        identities: &[identity("", &pki().server)],
        alpn_protocols: &["two"],
        ..COMMON
    });
    let (by_client, by_server) = refusal(&old, "a.test", &other);
    assert!(by_client.message.contains("no_application_protocol"), "{by_client}");
    assert!(by_server.message.contains("alpnProtocols"), "{by_server}");
}
