//! A request's way over a connection and its answer's way back.

use mio::Interest;

use super::upstream::{Doing, wait};
use super::{Inside, Notice};
use crate::door::tokens::Owner;
use crate::wire::routes::Lane;

impl Inside {
    /// Writes a request on.
    pub(super) fn push(&mut self, number: usize) {
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        let mut sent_bytes = 0;
        let written = upstream.write().and_then(|()| {
            if upstream.is_sent() {
                // A body that is sent is not kept for as long as its answer takes.
                sent_bytes = upstream.parcel.drop_body();
            }
            // A Unix socket reports room after each read of its other end: only who needs to asks.
            if upstream.polls_writable == upstream.is_sent() {
                upstream.polls_writable = !upstream.is_sent();
                let interest = Interest::READABLE;
                let interest = if upstream.polls_writable { interest | Interest::WRITABLE } else { interest };
                let token = Owner::Inside(number).token();
                return self.registry.reregister(&mut upstream.stream, token, interest);
            }
            Ok(())
        });
        self.let_go(sent_bytes);
        match written {
            Ok(()) => self.finish_if_whole(number),
            Err(error) => self.lose(number, &error.to_string()),
        }
    }

    /// Reads an answer on.
    pub(super) fn pull(&mut self, number: usize) {
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        if upstream.doing == Doing::Answered {
            // What is there to read now does not belong to the answer.
            self.notices.push_back(Notice::HasMore { connection: number });
            return;
        }
        match upstream.read(&mut self.scratch) {
            Ok(has_more) => {
                if has_more {
                    self.notices.push_back(Notice::HasMore { connection: number });
                }
                self.finish_if_whole(number);
            }
            Err(why) => self.lose(number, &why),
        }
    }

    /// An answer that came before its request was written whole has to wait for that: the connection's next request
    /// must not follow half a body.
    fn finish_if_whole(&mut self, number: usize) {
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        if !upstream.reader.is_whole() || !upstream.is_sent() {
            return;
        }
        self.last_answer = Some(self.now);
        match upstream.doing {
            Doing::Nothing | Doing::Orphaned | Doing::Answered => {}
            Doing::Pinging => self.rebuild_backoff.reset(),
            Doing::Proving => self.note_proof(),
            Doing::Serving { client } => {
                upstream.doing = Doing::Answered;
                self.notices.push_back(Notice::Answered { client, connection: number });
                return;
            }
        }
        self.free_or_remove(number);
    }

    /// A connection has done what it had to: it is free, or of no more use.
    pub(super) fn free_or_remove(&mut self, number: usize) {
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        let lane = upstream.lane;
        let (keeps, counted) = upstream.reset();
        let is_usable = keeps && upstream.generation == self.generation;
        self.let_go(counted);
        if is_usable {
            let free = match lane {
                Lane::Ingest => wait::FREE_INGEST,
                Lane::Kept => wait::FREE_KEPT,
            };
            self.waits.set(number, free, self.now);
        } else {
            self.remove(number);
        }
    }

    /// A connection is of no use any more. Its client, if it has one, is not forgotten.
    pub(super) fn lose(&mut self, number: usize, why: &str) {
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        self.lost += 1;
        if let Some(suppressed) = self.lost_lines.pass(self.now) {
            let doing = upstream.doing;
            log::warn!("a connection to the inner server was lost while {doing}: {why}{suppressed}");
        }
        let is_proving = upstream.doing == Doing::Proving;
        if let Doing::Serving { client } = upstream.doing {
            match upstream.take_back() {
                Some(parcel) => {
                    self.let_go(parcel.counted);
                    self.notices.push_back(Notice::Returned { client, parcel });
                }
                None => self.notices.push_back(Notice::Lost { client }),
            }
        }
        self.remove(number);
        if is_proving {
            self.open_backoff.grow(self.now);
        }
    }
}
