//! Sessions that are taken up again, so that a read can go out with the first packet (0-RTT).
//!
//! A session stands for the keys that both ends proved when it began: the server keeps the client's key with it, the client
//! keeps it for one peer and one of its own keys (rustls compares verifier and credentials). Who holds no session proves its
//! key anew, as ever.
//!
//! # Invariants
//! - A session is taken up at most once and within [`SESSION_LIFETIME`]: what was sent early cannot be sent again by somebody
//!   who recorded it, also not to the same server after a restart, which forgets all sessions.
//! - Both stores are bounded.
//!
//! # Not here
//! Which requests may go out early (`Request::is_read`), and refusing the others (`server`).
//!
//! Specified in docs/spec/wire.md, "Early data".

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
    server::StoresServerSessions,
};

/// A session older than this is not taken up.
pub(crate) const SESSION_LIFETIME: Duration = Duration::from_secs(3_600);
/// Sessions a server keeps; beyond it the oldest goes.
const SESSIONS_MAX: usize = 4_096;

/// The sessions of a server, by ticket.
pub(crate) struct Sessions {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<Vec<u8>, (Instant, Vec<u8>)>,
    /// Tickets in the order in which they were given out; some are used up.
    order: VecDeque<Vec<u8>>,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_at(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (begun, session) = self.kept().sessions.remove(ticket)?;
        (now.saturating_duration_since(begun) < SESSION_LIFETIME).then_some(session)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("kept", &self.kept().sessions.len()).finish()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, ticket: Vec<u8>, session: Vec<u8>) -> bool {
        let mut kept = self.kept();
        while kept.order.len() >= SESSIONS_MAX {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.sessions.remove(&oldest);
        }
        kept.order.push_back(ticket.clone());
        kept.sessions.insert(ticket, (Instant::now(), session));
        true
    }

    /// Would leave the session to be taken up twice; TLS 1.3 does not ask.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.take_at(ticket, Instant::now())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The newest session of a client with one peer.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    newest: Mutex<Option<(Instant, Tls13ClientSessionValue)>>,
}

impl Ticket {
    fn newest(&self) -> MutexGuard<'_, Option<(Instant, Tls13ClientSessionValue)>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Ticket {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, session: Tls13ClientSessionValue) {
        *self.newest() = Some((Instant::now(), session));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let (begun, session) = self.newest().take()?;
        (begun.elapsed() < SESSION_LIFETIME).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_taken_up_once() {
        let sessions = Sessions::new();
        assert!(sessions.put(vec![1], vec![2]));
        assert_eq!(sessions.get(&[1]), None);
        assert_eq!(sessions.take(&[1]), Some(vec![2]));
        assert_eq!(sessions.take(&[1]), None);
    }

    #[test]
    fn an_old_session_is_not_taken_up() {
        let sessions = Sessions::new();
        let before = Instant::now();
        sessions.put(vec![1], vec![2]);
        sessions.put(vec![3], vec![4]);
        let after = Instant::now();
        let almost = SESSION_LIFETIME - Duration::from_millis(1);
        assert_eq!(sessions.take_at(&[1], before + almost), Some(vec![2]));
        assert_eq!(sessions.take_at(&[3], after + SESSION_LIFETIME), None);
    }

    #[test]
    fn the_oldest_session_makes_room() {
        let sessions = Sessions::new();
        for number in 0..=SESSIONS_MAX {
            sessions.put(number.to_le_bytes().to_vec(), vec![]);
        }
        assert_eq!(sessions.take(&0usize.to_le_bytes()), None);
        assert_eq!(sessions.take(&1usize.to_le_bytes()), Some(vec![]));
        assert_eq!(sessions.take(&SESSIONS_MAX.to_le_bytes()), Some(vec![]));
        assert!(sessions.kept().order.len() <= SESSIONS_MAX);
    }
}
