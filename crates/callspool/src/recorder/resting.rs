//! What opened the packets of streams whose segments have ended while their call goes on, as on hold. The next segment of
//! the stream has other ports, and goes on with it: a client whose description says nothing new may go on with the keys
//! of a handshake that it made (RFC 8842 section 4), count of rollovers, packets taken and all.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{CallId, Mono, StreamId};

use super::live::Rested;

/// Streams of which it is kept, some 6 KiB each. Of more, the one that rests for longest is forgotten: then its client
/// has to shake hands anew, and says so by sending what cannot be opened.
const STREAMS_MAX: usize = 4_096;
/// How long it is kept. The end of a call is told; this is for those of which it was not.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

struct Rest {
    call: CallId,
    since: Mono,
    rested: Rested,
}

/// See the module. Nobody looks here for a packet: only when a segment begins or ends.
#[derive(Default)]
pub(crate) struct Resting(Mutex<BTreeMap<StreamId, Rest>>);

impl Resting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment of the call has ended.
    pub(super) fn put(&self, now: Mono, call: CallId, stream: StreamId, rested: Rested) {
        let mut all = self.lock();
        all.retain(|_, r| now.since(r.since) < KEPT);
        if all.len() >= STREAMS_MAX
            && let Some(oldest) = all.iter().min_by_key(|(_, r)| r.since).map(|(id, _)| *id)
        {
            all.remove(&oldest);
        }
        all.insert(stream, Rest { call, since: now, rested });
    }

    /// A segment with this stream begins.
    pub(super) fn take(&self, stream: StreamId) -> Option<Rested> {
        self.lock().remove(&stream).map(|r| r.rested)
    }

    /// The call is over.
    pub(super) fn forget(&self, call: CallId) {
        self.lock().retain(|_, r| r.call != call);
    }

    /// A call turned out to be another.
    pub(super) fn join(&self, from: CallId, into: CallId) {
        self.lock().values_mut().filter(|r| r.call == from).for_each(|r| r.call = into);
    }
}

impl std::fmt::Debug for Resting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resting").field("streams", &self.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use model::{Keys, Protection, Suite};

    use super::*;

    fn rested() -> Rested {
        let keys = Keys::single(Suite::AesCm128HmacSha1Tag80, vec![7; 30]).unwrap();
        Rested::of(&Protection::Srtp { inbound: keys.clone(), outbound: keys }).unwrap()
    }

    #[test]
    fn it_is_kept_until_its_call_ends_and_no_more_than_so_much_of_it() {
        let (resting, stream) = (Resting::default(), StreamId::from_u64);
        let (one, two) = (CallId::from_u64(1), CallId::from_u64(2));
        resting.put(Mono(1), one, stream(1), rested());
        resting.put(Mono(2), two, stream(2), rested());
        resting.forget(one);
        assert!(resting.take(stream(1)).is_none());
        resting.join(two, one);
        resting.forget(two);
        assert!(resting.take(stream(2)).is_some());
        assert!(resting.take(stream(2)).is_none(), "once");
        for n in 0..STREAMS_MAX as u64 + 10 {
            resting.put(Mono(100 + n), one, stream(100 + n), rested());
        }
        assert_eq!(resting.lock().len(), STREAMS_MAX);
        assert!(resting.take(stream(100)).is_none());
        resting.put(Mono::ZERO + KEPT * 2, one, stream(1), rested());
        assert_eq!(resting.lock().len(), 1);
        assert_eq!(format!("{resting:?}"), "Resting { streams: 1 }");
    }
}
