//! TLS against a server whose certificate names `localhost`, as libpq's `sslmode` has it.

use super::*;

const IS_ENCRYPTED: &str = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
     WHERE application_name = 'logs-ingest'";

#[test]
fn each_sslmode_trusts_as_it_says() {
    let bench = Bench::with(Server::builder().tls());
    let by_name = bench.server.url_as("till");
    let by_address = bench.server.url();
    let authority = format!("sslrootcert={}", bench.server.authority().display());
    let stranger = format!("sslrootcert={}", bench.server.stranger().display());
    for (url, parameters, is_encrypted) in [
        (&by_address, "sslmode=disable".to_owned(), "f"),
        (&by_address, "application_name=logs-ingest".to_owned(), "t"),
        (&by_address, "sslmode=prefer".to_owned(), "t"),
        (&by_address, "sslmode=require".to_owned(), "t"),
        (&by_address, "sslmode=require&channel_binding=require".to_owned(), "t"),
        (&by_address, format!("sslmode=require&{authority}"), "t"),
        (&by_address, format!("sslmode=verify-ca&{authority}"), "t"),
        (&by_name, format!("sslmode=verify-full&{authority}"), "t"),
        // A certificate may be listed itself.
        (&by_name, format!("sslmode=verify-full&{}", authority.replace("authority.pem", "server.pem")), "t"),
    ] {
        let mut store = connected(&format!("{url}?{parameters}")).store;
        hold(&mut store, [1]);
        assert_eq!(bench.server.value(IS_ENCRYPTED), is_encrypted, "{parameters}");
        drop(store);
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'logs-ingest'";
        poll(PATIENCE, "the session to end", || (bench.server.value(sessions) == "0").then_some(()));
    }
    for (url, parameters, part) in [
        (&by_name, format!("sslmode=verify-ca&{stranger}"), "UnknownIssuer"),
        (&by_name, format!("sslmode=require&{stranger}"), "UnknownIssuer"),
        (&by_name, format!("sslmode=verify-full&{stranger}"), "UnknownIssuer"),
        (&by_name, "sslmode=verify-full".to_owned(), "UnknownIssuer"),
        (&by_address, format!("sslmode=verify-full&{authority}"), "not valid for name"),
        (&by_name, "sslmode=verify-ca&sslrootcert=/nowhere.pem".to_owned(), "/nowhere.pem"),
    ] {
        let why = bench.refused(&format!("{url}?{parameters}"));
        assert!(why.contains(part), "{parameters}: {why}");
    }
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let bench = Bench::new();
    let why = bench.refused(&format!("{}?sslmode=require", bench.server.url()));
    assert!(why.contains("TLS"), "{why}");
    hold(&mut connected(&format!("{}?sslmode=prefer", bench.server.url())).store, [1]);
}
