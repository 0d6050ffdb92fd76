//! The real modern client, and panics in it: in a task, which tokio catches, and in a call, which nobody does.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use krafka::testing::{ApiKey, Control, FakeBroker};
use log::LevelFilter;

use super::*;
use crate::event::Arrival;
use crate::host::{crash, thread};
use crate::store::kafka::runtime::tests::{PROVOKED, Provoked};
use crate::store::kafka::{ClientChoice, Settings, connect};
use crate::store::{Cause, Connected};
use crate::telemetry::logging;

const DEADLINE: Duration = Duration::from_secs(3);
/// Set in the process that panics.
const IN_CHILD: &str = "LOGS_INGEST_TEST_PANICS";

/// Each of its calls panics, its end too.
struct Broken;

impl Store for Broken {
    fn begin(&mut self, _: &Batch) {
        panic!("begin, on purpose");
    }

    fn write(&mut self, _: &Batch) -> Vec<WriteResult> {
        panic!("write, on purpose");
    }

    fn keep_letters(&mut self, _: &[(Event, Arc<str>)]) -> WriteResult {
        panic!("keep_letters, on purpose");
    }

    fn tick(&mut self) -> WriteResult {
        panic!("tick, on purpose");
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        panic!("drop, on purpose");
    }
}

fn at() -> Cluster {
    Cluster::new(&["till:9092".to_owned()], "pos-logs")
}

fn batch() -> Batch {
    let arrival = Arrival::new(uuid::Uuid::now_v7(), crate::limits::RELEASED_MS);
    let event = Event::restored(arrival, "r".into(), r#"{"request_id":"r"}"#.into());
    [event.clone(), event].into()
}

#[track_caller]
fn assert_bug(result: &WriteResult) {
    assert!(matches!(result, Err(StoreError::Unavailable(Cause::Bug, _))), "{result:?}");
}

#[test]
fn a_panic_in_any_call_is_unavailable_and_ends_the_client() {
    let calls: [fn(&mut Contained) -> WriteResult; 4] = [
        |store| store.write(&batch()).remove(1),
        |store| store.tick(),
        |store| store.keep_letters(&[]),
        |store| {
            store.begin(&batch());
            store.tick()
        },
    ];
    for panics in calls {
        let mut store = Contained::new(Box::new(Broken), at());
        assert_bug(&panics(&mut store));
        assert!(store.store.is_none());
        // From now on without another panic.
        calls.iter().for_each(|call| assert_bug(&call(&mut store)));
    }
    drop(Contained::new(Box::new(Broken), at()));
}

/// A broker for tests, on a thread of its own: the address, and whether it leaves writes unanswered.
fn broker() -> (String, Arc<AtomicBool>) {
    let (sender, address) = crossbeam_channel::bounded(1);
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let serve = async move {
        let broker = FakeBroker::start().await.unwrap();
        broker.create_topic("pos-logs", 1);
        broker.on(ApiKey::Produce, move |_| match is_silent.load(Ordering::Acquire) {
            true => Control::Silence,
            false => Control::Pass,
        });
        sender.send(broker.bootstrap_servers()).unwrap();
        std::future::pending::<()>().await;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // It ends with the process.
    drop(thread::start("t-broker", move || runtime.block_on(serve)).unwrap());
    (address.recv().unwrap(), silent)
}

/// What a daemon does with its client, and panics on the way. Each costs the client, and the next one works.
fn survive() {
    let logs = logging::start(LevelFilter::Info).unwrap();
    crash::log_panics();
    let (address, silent) = broker();
    let settings = Settings {
        brokers: vec![address],
        topic: "pos-logs".to_owned(),
        client: ClientChoice::Modern,
        deadline: DEADLINE,
        max_event_bytes: 1024,
        embed_id: false,
        security: Default::default(),
        destination: None,
    };
    let client = || {
        let Connected { mut store, .. } = connect(&settings).unwrap();
        assert_eq!(store.write(&batch()), [Ok(()), Ok(())]);
        store
    };

    let mut store = client();
    PROVOKED.set(Some(Provoked::InTask));
    assert_eq!(store.write(&batch()), [Ok(()), Ok(())], "what was acknowledged is stored");
    store.write(&batch()).iter().for_each(assert_bug);
    assert_bug(&store.tick());

    let mut store = client();
    PROVOKED.set(Some(Provoked::InTask));
    assert_bug(&store.tick());

    let mut store = client();
    silent.store(true, Ordering::Release);
    PROVOKED.set(Some(Provoked::InTask));
    let began = Instant::now();
    store.write(&batch()).iter().for_each(assert_bug);
    assert!(began.elapsed() < 2 * DEADLINE, "{:?}", began.elapsed());
    silent.store(false, Ordering::Release);

    let mut store = client();
    PROVOKED.set(Some(Provoked::InCall));
    store.write(&batch()).iter().for_each(assert_bug);

    PROVOKED.set(Some(Provoked::InCall));
    assert_bug(&connect(&settings).map(drop));
    drop(client());
    logs.flush();
}

#[test]
fn a_client_that_panics_costs_a_line_and_not_the_process() {
    if std::env::var_os(IN_CHILD).is_some() {
        return survive();
    }
    // In a process of its own: the hook that logs panics is the whole process's.
    let name = "store::kafka::contain::tests::a_client_that_panics_costs_a_line_and_not_the_process";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(IN_CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}{said}", String::from_utf8_lossy(&child.stdout));
    let panics: Vec<&str> = said.lines().filter(|line| line.contains("BUG: panic thread=")).collect();
    assert_eq!(panics.len(), 5, "{said}");
    assert_eq!(said.matches("on purpose").count(), 5, "one line each: {said}");
}
