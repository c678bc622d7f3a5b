//! Counts SIP messages by what stands at their begin: requests that come by method, responses that go by class.

/// Methods that are counted by their names; what is called otherwise is `other`, as anybody may make up a name.
const METHODS: [&str; 10] =
    ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "UPDATE", "INFO", "PRACK", "REGISTER", "SUBSCRIBE"];
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

/// Counts since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SipTally {
    methods: [u64; METHODS.len()],
    other: u64,
    classes: [u64; CLASSES.len()],
}

impl SipTally {
    /// A request came.
    pub(crate) fn came(&mut self, method: &[u8]) {
        let index = METHODS.iter().position(|known| known.as_bytes() == method);
        match index.and_then(|index| self.methods.get_mut(index)) {
            Some(n) => *n += 1,
            None => self.other += 1,
        }
    }

    /// A datagram came. What does not begin with a name and a space is no request.
    pub(crate) fn came_datagram(&mut self, bytes: &[u8]) {
        let method = bytes.split(|c| *c == b' ').next().filter(|m| (3..=32).contains(&m.len()));
        if let Some(method) = method.filter(|m| m.iter().all(u8::is_ascii_uppercase)) {
            self.came(method);
        }
    }

    /// A message goes out.
    pub(crate) fn went(&mut self, bytes: &[u8]) {
        let class =
            bytes.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.first()).map(|c| c.wrapping_sub(b'1'));
        if let Some(n) = class.and_then(|class| self.classes.get_mut(usize::from(class))) {
            *n += 1;
        }
    }

    /// Requests that came, by method.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        METHODS.into_iter().zip(self.methods).chain([("other", self.other)])
    }

    /// Responses that went, by class.
    pub(crate) fn responses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.into_iter().zip(self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_their_begin() {
        let mut tally = SipTally::default();
        for came in [
            "INVITE sip:a@b SIP/2.0",
            "BYE sip:a@b SIP/2.0",
            "MADEUP x SIP/2.0",
            "SIP/2.0 200 OK",
            "\r\n",
            "x y",
        ] {
            tally.came_datagram(came.as_bytes());
        }
        for went in [
            "SIP/2.0 200 OK",
            "SIP/2.0 100 Trying",
            "SIP/2.0 603 Decline",
            "BYE sip:a SIP/2.0",
            "SIP/2.0 ",
            "",
        ] {
            tally.went(went.as_bytes());
        }
        let named: Vec<_> = tally.requests().filter(|(_, n)| *n > 0).collect();
        assert_eq!(named, [("INVITE", 1), ("BYE", 1), ("other", 1)]);
        let classes: Vec<_> = tally.responses().map(|(_, n)| n).collect();
        assert_eq!(classes, [1, 1, 0, 0, 0, 1]);
    }
}
