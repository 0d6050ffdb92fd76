//! Tills that do nothing wrong, beside whatever happens: how long they wait.

use std::time::Duration;

use super::daemon::Daemon;
use super::http::Place;
use super::load::{Load, Report, Until, valid_events};

/// What a healthy client's p99 stays below.
const HEALTHY: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(2);
const TILLS: usize = 2;
/// How often whoever is late is measured again.
const AGAIN: usize = 3;

/// Two tills for a while, each of whose events has to be stored, in time.
///
/// On a machine that is busy with something else nobody is served in time. So whoever is late is measured
/// again, beside a daemon that nobody disturbs: that one tells what the machine can do now. A daemon that lets
/// tills wait is late each time.
pub(crate) fn healthy(place: impl Into<Place>) -> Report {
    let place = place.into();
    let mut report = Load::run(place.clone(), TILLS, Until::Elapsed(WINDOW), paced);
    let first = report.percentile(0.99);
    let mut seen = Vec::new();
    while first >= HEALTHY && seen.iter().all(|(late, usual)| late >= &HEALTHY.max(2 * *usual)) {
        assert!(
            seen.len() < AGAIN,
            "a healthy client's p99: {first:?}, then (an undisturbed one's) {seen:?}"
        );
        let undisturbed = Daemon::start();
        let reference = Load::start(undisturbed.addr(), TILLS, Until::Stopped, paced);
        let again = Load::run(place.clone(), TILLS, Until::Elapsed(WINDOW), paced);
        seen.push((again.percentile(0.99), reference.stop().percentile(0.99)));
        report.add(again);
    }
    assert!(report.answers.len() > 50, "{} answers", report.answers.len());
    assert_eq!((report.with_status(202), report.connection_errors), (report.answers.len(), 0));
    report
}

fn paced(number: usize) -> (String, Vec<u8>) {
    super::pause(Duration::from_millis(2));
    valid_events(number)
}
