//! HTTPS with real clients (curl, openssl, rustls), certificates that `scripts/make-cert` makes, and the Unix
//! socket. Whoever breaks the handshake harms only itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::ClientConfig;

use crate::support::daemon::Daemon;
use crate::support::events;
use crate::support::healthy::healthy;
use crate::support::http::{Client, INGEST};
use crate::support::load::{Load, Until, valid_events};
use crate::support::stores::Found;
use crate::support::tls::{Certificate, connection};
use crate::support::{TempDir, poll};

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: install it"));
    // Who refuses at once does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn curl(certificate: &Certificate, args: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--cacert"]).arg(certificate.certificate()).args(args);
    let output = run(&mut command, b"");
    assert!(output.status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What openssl's client says of a connection over which it sends one request.
fn s_client(addr: SocketAddr, args: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", &addr.to_string()]).args(args);
    let output = run(&mut command, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn curl_stores_events_over_tls_1_2_and_1_3() {
    let certificate = Certificate::make();
    let daemon = certificate.daemon().start();
    let url = format!("https://localhost:{}{INGEST}", daemon.addr().port());
    for versions in [["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3", "--tls-max", "1.3"]] {
        let event = events::event().to_string();
        let large = events::event();
        let large =
            large.to_string().replace("\"message\":\"", &format!("\"message\":\"{}", "x".repeat(300_000)));
        for body in [event.as_str(), large.as_str()] {
            let file = TempDir::new();
            let path = file.path().join("event.json");
            std::fs::write(&path, body).unwrap();
            let data = format!("@{}", path.display());
            let said = curl(
                &certificate,
                &[&versions[..], &["--data-binary", &data, "-w", "\n%{http_code} %{http_version}", &url]]
                    .concat(),
            );
            assert!(said.ends_with("\n202 1.1"), "{versions:?}: {said}");
        }
    }
    assert_eq!(daemon_stats(&daemon, &certificate)["ledger"]["home"], 4);
}

fn daemon_stats(daemon: &Daemon, certificate: &Certificate) -> serde_json::Value {
    Client::connect((daemon.addr(), certificate.trust())).get("/stats").json()
}

#[test]
fn openssl_is_served_in_two_versions_and_refused_in_older_ones() {
    let certificate = Certificate::make();
    let daemon = certificate.daemon().start();
    let ca = certificate.certificate().display().to_string();
    for (version, name) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let said = s_client(daemon.addr(), &[version, "-CAfile", &ca, "-alpn", "h2,http/1.1"]);
        for part in ["HTTP/1.1 200 OK", name, "Verify return code: 0 (ok)", "ALPN protocol: http/1.1"] {
            assert!(said.contains(part), "{version}: {part}: {said}");
        }
    }
    for args in [
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"],
        &["-alpn", "h2"],
        &["-tls1_2", "-cipher", "AES128-SHA"],
    ] {
        let said = s_client(daemon.addr(), args);
        assert!(said.contains("alert") && !said.contains("HTTP/1.1"), "{args:?}: {said}");
    }
    let figures = daemon_stats(&daemon, &certificate)["door"].clone();
    assert_eq!((&figures["tls_failures"], &figures["refused"]["400"]), (&4.into(), &0.into()), "{figures}");
    healthy((daemon.addr(), certificate.trust()));
}

#[test]
fn what_is_no_tls_is_told_so_or_cut_off() {
    let certificate = Certificate::make();
    let daemon = certificate.daemon().start();
    for bytes in [&b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\r\n", b"\0\0\0\0", b"SSH-2.0-x\r\n"] {
        let mut client = Client::connect(daemon.addr());
        client.send_raw(bytes).unwrap();
        let answer = client.read_response().unwrap();
        assert_eq!((answer.status, answer.closes()), (400, true));
        assert!(answer.detail().contains("https://"), "{}", answer.detail());
        assert!(client.is_closed());
    }
    let mut garbage = vec![0x16];
    garbage.extend((0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8));
    for bytes in [
        &garbage[..],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x04\x02\0\0\0",
    ] {
        let mut client = connect(daemon.addr());
        let _ = client.write_all(bytes);
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said);
        // At most an alert.
        assert!(said.len() <= 7 && !said.starts_with(b"HTTP"), "{said:?}");
    }
    healthy((daemon.addr(), certificate.trust()));
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The first bytes that a TLS client sends.
fn hello(trust: &Arc<ClientConfig>) -> Vec<u8> {
    let mut bytes = Vec::new();
    connection(trust).write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_slow_handshake_ends_in_time_and_keeps_nobody_waiting() {
    let certificate = Certificate::make();
    let daemon = certificate.daemon().env("HEAD_TIMEOUT", "3s").start();
    let trust = certificate.trust();
    let hello = hello(&trust);
    let began = Instant::now();
    // Stalled in the middle of the first message, and after it.
    let mut stalled: Vec<TcpStream> = (0..200).map(|_| connect(daemon.addr())).collect();
    for (nth, client) in stalled.iter_mut().enumerate() {
        let part = if nth % 2 == 0 { &hello[..hello.len() / 2] } else { &hello[..] };
        client.write_all(part).unwrap();
    }
    healthy((daemon.addr(), Arc::clone(&trust)));
    for client in &mut stalled {
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
    }
    let took = began.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(10)).contains(&took), "{took:?}");
    let figures = daemon_stats(&daemon, &certificate)["door"].clone();
    assert_eq!(figures["tls_failures"], 200, "{figures}");
    assert!(daemon.logged("it took too long"));
}

#[test]
fn a_new_certificate_is_shown_after_sighup_and_nobody_notices() {
    let (first, second) = (Certificate::make(), Certificate::make());
    // The second of the old ones has no session to resume.
    let (old, old_and_new_here, new) = (first.trust(), first.trust(), second.trust());
    let mut daemon = first.daemon().start();
    let mut kept = Client::connect((daemon.addr(), Arc::clone(&old)));
    assert_eq!(kept.get("/livez").status, 200);
    let load = Load::start((daemon.addr(), Arc::clone(&old)), 8, Until::Stopped, valid_events);
    poll(Duration::from_secs(10), "the load's connections", || {
        let figures = kept.get("/stats").json()["door"].clone();
        (figures["tls_handshakes"].as_u64() == Some(9)).then_some(())
    });
    first.replace_by(&second);
    daemon.signal(Signal::HUP);
    poll(Duration::from_secs(10), "the new certificate", || {
        let mut client = Client::connect((daemon.addr(), Arc::clone(&new)));
        client.send("GET", "/livez", &[], b"").and_then(|()| client.read_response()).ok()
    });
    let mut late = Client::connect((daemon.addr(), old_and_new_here));
    assert!(late.send("GET", "/livez", &[], b"").is_err(), "the old certificate is shown no more");
    assert_eq!(kept.get("/livez").status, 200);

    // Files that cannot be used change nothing, and the log says so.
    for (file, setting) in [(first.key(), "TLS_KEY"), (first.certificate(), "TLS_CERT")] {
        let before = std::fs::read(&file).unwrap();
        std::fs::write(&file, "no PEM").unwrap();
        daemon.signal(Signal::HUP);
        let said = daemon.wait_for_log(&format!("SIGHUP: {setting}"), Duration::from_secs(10));
        assert!(said.contains("stays in use") && !said.contains("no PEM"), "{said}");
        std::fs::write(&file, before).unwrap();
        assert_eq!(Client::connect((daemon.addr(), Arc::clone(&new))).get("/livez").status, 200);
    }
    let report = load.stop();
    assert_eq!((report.with_status(202), report.connection_errors), (report.answers.len(), 0));
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
    assert_eq!(daemon.terminate().code(), Some(0));
}

/// A storm of SIGHUP is heeded, and the files that were there at its end are in use.
#[test]
fn the_last_of_many_reloads_counts() {
    let (first, second) = (Certificate::make(), Certificate::make());
    let mut daemon = first.daemon().start();
    for _ in 0..200 {
        daemon.signal(Signal::HUP);
    }
    first.replace_by(&second);
    daemon.signal(Signal::HUP);
    poll(Duration::from_secs(10), "the new certificate", || {
        let mut client = Client::connect((daemon.addr(), second.trust()));
        client.send("GET", "/livez", &[], b"").and_then(|()| client.read_response()).ok()
    });
    assert!(daemon.log_text().matches("SIGHUP").count() < 10, "{}", daemon.log_text());
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn a_connection_ends_with_a_goodbye() {
    let certificate = Certificate::make();
    let daemon = certificate.daemon().start();
    for request in
        ["GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /livez HTTP/2.9\r\n\r\n"]
    {
        let mut tls = rustls::StreamOwned::new(connection(&certificate.trust()), connect(daemon.addr()));
        tls.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        // An end without a goodbye would be an error: the answer could have been cut.
        tls.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 ") && said.ends_with('}'), "{said}");
    }
    // A client that says goodbye gets its answer first, and one that says it in mid-body is answered too.
    for (body, status) in [("{}", "HTTP/1.1 422"), ("{", "HTTP/1.1 400")] {
        let mut tls = rustls::StreamOwned::new(connection(&certificate.trust()), connect(daemon.addr()));
        let head = format!("POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{body}");
        tls.write_all(head.as_bytes()).unwrap();
        tls.conn.send_close_notify();
        let mut said = String::new();
        tls.read_to_string(&mut said).unwrap();
        assert!(said.starts_with(status), "{said}");
    }
}

/// A stop in the middle of a load, of open handshakes and of idle connections.
#[test]
fn a_stop_answers_what_has_begun_over_tls() {
    let certificate = Certificate::make();
    let mut daemon = certificate.daemon().start();
    let trust = certificate.trust();
    let hello = hello(&trust);
    let mut begun: Vec<TcpStream> = (0..20).map(|_| connect(daemon.addr())).collect();
    begun.iter_mut().for_each(|client| client.write_all(&hello[..20]).unwrap());
    let mut idle = Client::connect((daemon.addr(), Arc::clone(&trust)));
    assert_eq!(idle.get("/livez").status, 200);
    let load = Load::start((daemon.addr(), Arc::clone(&trust)), 8, Until::Stopped, valid_events);
    poll(Duration::from_secs(10), "the load to run", || {
        (idle.get("/stats").json()["ledger"]["accepted"].as_u64() > Some(50)).then_some(())
    });
    let began = Instant::now();
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log_text());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let report = load.stop();
    assert!(idle.is_closed());
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
}

#[test]
fn a_thousand_tls_connections_fit_the_cap_on_memory() {
    let certificate = Certificate::make();
    let daemon = certificate.daemon().start();
    let trust = certificate.trust();
    let before = daemon.rss_kib();
    let clients: Vec<Client> = (0..1_000)
        .map(|_| {
            let mut client = Client::connect((daemon.addr(), Arc::clone(&trust)));
            assert_eq!(client.get("/livez").status, 200);
            client
        })
        .collect();
    let report = healthy((daemon.addr(), Arc::clone(&trust)));
    let now = daemon.rss_kib();
    println!("resident: {before} KiB before, {now} KiB with 1,000 TLS connections");
    assert!(now < 64 * 1024, "{now} KiB resident with 1,000 TLS connections");
    let figures = daemon_stats(&daemon, &certificate)["door"].clone();
    assert!(figures["connections"].as_u64() >= Some(1_000), "{figures}");
    drop(clients);
    Found::look(None, &daemon.data_dir()).assert_safe(&report);
}

#[test]
fn files_that_can_not_be_used_end_the_start_with_78() {
    let (one, other) = (Certificate::make(), Certificate::make());
    let folder = TempDir::new();
    let bad = folder.path().join("bad.pem");
    std::fs::write(&bad, "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    let (cert, key) = (one.certificate(), one.key());
    let (missing, bad) = (folder.path().join("missing.pem"), bad);
    for (cert, key, part) in [
        (Some(&cert), None, "TLS_KEY"),
        (None, Some(&key), "TLS_CERT"),
        (Some(&missing), Some(&key), "missing.pem"),
        (Some(&cert), Some(&missing), "missing.pem"),
        (Some(&bad), Some(&key), "bad.pem"),
        (Some(&key), Some(&key), "no certificate"),
        (Some(&cert), Some(&cert), "private key"),
        (Some(&cert), Some(&other.key()), "cannot be used together"),
    ] {
        let mut builder = Daemon::builder();
        for (name, file) in [("TLS_CERT", cert), ("TLS_KEY", key)] {
            builder = file.into_iter().fold(builder, |builder, file| builder.env(name, file.display()));
        }
        let (code, said) = builder.run_to_exit(Duration::from_secs(10));
        assert_eq!(code, Some(78), "{part}: {said}");
        assert!(said.contains(part), "{part}: {said}");
        assert!(!said.contains("PRIVATE"), "{said}");
    }
}

#[test]
fn systemd_may_hand_over_certificate_and_key() {
    let certificate = Certificate::make();
    let folder = TempDir::new();
    for (name, file) in [("TLS_CERT", certificate.certificate()), ("TLS_KEY", certificate.key())] {
        std::fs::copy(file, folder.path().join(name)).unwrap();
    }
    let daemon = Daemon::builder().env("CREDENTIALS_DIRECTORY", folder.path().display()).start();
    assert_eq!(Client::connect((daemon.addr(), certificate.trust())).get("/livez").status, 200);
}

#[test]
fn a_certificate_that_ends_soon_is_warned_about_and_used() {
    let certificate = Certificate::made_with(&["--days", "7", "till-server.lan", "192.168.1.5"]);
    let daemon = certificate.daemon().start();
    let line = daemon.wait_for_log("make a new one", Duration::from_secs(5));
    assert!(line.contains("[WARN]") && line.contains(" expires in "), "{line}");
    let figures = daemon_stats(&daemon, &certificate)["door"].clone();
    let left_s = figures["tls_certificate_ends_s"].as_i64().unwrap() - chrono::Utc::now().timestamp();
    assert!((6 * 86_400..=7 * 86_400).contains(&left_s), "{left_s} s");
    let mode = std::fs::metadata(certificate.key()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let authority = certificate.certificate().display().to_string();
    let said = s_client(daemon.addr(), &["-CAfile", &authority, "-verify_ip", "192.168.1.5"]);
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
}

#[test]
fn commands_find_the_daemon_behind_its_own_certificate() {
    let (certificate, other) = (Certificate::make(), Certificate::make());
    let daemon = certificate.daemon().start();
    let ledger = |shown: &Certificate| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logs-ingest"));
        command.args(["ledger", "--json"]).env_clear().env("DATA_DIR", daemon.data_dir());
        command.env("HOST", "127.0.0.1").env("PORT", daemon.addr().port().to_string());
        run(command.env("TLS_CERT", shown.certificate()).env("TLS_KEY", shown.key()), b"")
    };
    let output = ledger(&certificate);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &report["daemon"]["ledger"]["balanced"]),
        (Some(0), &true.into()),
        "{report}"
    );
    // A stranger on the daemon's port is not believed.
    let output = ledger(&other);
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("invalid peer certificate"), "{output:?}");
}

#[test]
fn programs_of_this_machine_come_over_the_unix_socket() {
    let folder = TempDir::new();
    let path = folder.path().join("ingest.sock");
    let builder = Daemon::builder().env("UNIX_SOCKET", path.display());
    let mut daemon = builder.clone().start();
    let socket = path.display().to_string();
    let ask = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--unix-socket", &socket]).args(args);
        let output = run(&mut command, b"");
        String::from_utf8(output.stdout).unwrap()
    };
    let url = format!("http://here{INGEST}");
    let event = events::event().to_string();
    assert!(ask(&["-i", "-d", &event, &url]).starts_with("HTTP/1.1 202"));
    assert!(ask(&["-i", "-d", "{}", &url]).starts_with("HTTP/1.1 422"));
    daemon.wait_for_log("peer=unix", Duration::from_secs(5));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "the daemon's user and its group");

    // Who sends and goes away is heard.
    let mut gone = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let event = events::event().to_string();
    let head = format!("POST {INGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{event}", event.len());
    gone.write_all(head.as_bytes()).unwrap();
    drop(gone);
    daemon.wait_for("/stats", Duration::from_secs(5), |stats| stats["ledger"]["home"] == 2);
    daemon.wait_for("/stats", Duration::from_secs(5), |stats| stats["door"]["connections"] == 1);

    // It is not taken from a daemon that lives, and what a killed one left is replaced.
    let (code, said) = builder.clone().run_to_exit(Duration::from_secs(10));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("UNIX_SOCKET") && said.contains("another program"), "{said}");
    assert!(ask(&["-i", "http://here/livez"]).starts_with("HTTP/1.1 200"));
    daemon.kill9();
    assert!(path.exists());
    let mut daemon = builder.clone().start();
    assert!(ask(&["-i", "http://here/livez"]).starts_with("HTTP/1.1 200"));
    assert_eq!(daemon.terminate().code(), Some(0));
    assert!(!path.exists(), "the file is removed at a stop");

    std::fs::write(&path, "somebody's").unwrap();
    let (code, said) = builder.run_to_exit(Duration::from_secs(10));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("not a socket"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's");
}
