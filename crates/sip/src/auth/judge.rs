//! The judgment: credentials against users, nonces and counts.

use std::net::IpAddr;
use std::sync::Arc;

use model::Mono;
use subtle::ConstantTimeEq;

use super::counts::Counts;
use super::credentials::Credentials;
use super::failures::Failures;
use super::nonce::Nonces;
use super::{Algorithm, Ha1, Proof, Users};

/// Nonces whose counts are remembered: a nonce for each call of two minutes at 500 calls a second. Some megabytes.
const NONCES_MAX: usize = 65_536;

/// Who must prove what.
#[derive(Clone, Copy, Debug)]
pub struct Protection<'a> {
    /// What nonces are bound to: one of another scope is stale.
    pub scope: &'a str,
    /// The realm, as clients are told it.
    pub realm: &'a str,
    /// Who may pass.
    pub users: &'a Users,
}

/// What became of a request's credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They are right, and were never used before.
    Passed {
        /// Whose they are.
        user: Arc<str>,
    },
    /// There are none to judge, or their nonce is not good any more: to be answered 401 with these challenges.
    Challenged(Vec<String>),
    /// They are wrong: to be answered 401 with these challenges.
    Wrong(Vec<String>),
    /// Too many were wrong of late from this address: nothing was looked at.
    Locked,
}

/// How often credentials were judged, by what came of it, since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Judged {
    /// They were right.
    pub passed: u64,
    /// There were none for the realm that could be read: as each first request has none.
    pub missing: u64,
    /// Their nonce was too old or another's, or had been used with this count.
    pub stale: u64,
    /// User or password were wrong.
    pub wrong: u64,
    /// So many were wrong before from this address that they were not looked at.
    pub locked: u64,
}

/// Nonces, the counts that were used, and the addresses that failed. See the module above.
pub struct Authenticator {
    nonces: Nonces,
    counts: Counts,
    failures: Failures,
    /// Computed with when there is no such user, so that time does not tell.
    nobody: Ha1,
    judged: Judged,
}

impl Authenticator {
    /// One that has given no nonce yet. The secret must be unpredictable.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            nonces: Nonces::new(secret),
            counts: Counts::new(NONCES_MAX),
            failures: Failures::default(),
            nobody: Ha1(super::hex(&secret).into()),
            judged: Judged::default(),
        }
    }

    /// What came of all that was judged.
    #[must_use]
    pub const fn judged(&self) -> Judged {
        self.judged
    }

    /// Judges the values of `Authorization` of a request with this method from this address.
    pub fn judge(
        &mut self,
        now: Mono,
        protection: &Protection<'_>,
        source: IpAddr,
        method: &str,
        authorization: &[String],
    ) -> Verdict {
        let mut of_realm = authorization.iter().filter_map(|value| Credentials::read(value));
        let Some(credentials) = of_realm.find(|c| c.realm == protection.realm) else {
            self.judged.missing += 1;
            return Verdict::Challenged(self.challenges(now, protection, source, false));
        };
        if self.failures.is_locked(now, source) {
            self.judged.locked += 1;
            return Verdict::Locked;
        }
        let Some(nonce) = self.nonces.check(now, &credentials.nonce, protection.scope, source) else {
            self.judged.stale += 1;
            return Verdict::Challenged(self.challenges(now, protection, source, true));
        };
        let Some(user) = self.proved(protection.users, &credentials, method) else {
            self.failures.count(now, source);
            self.judged.wrong += 1;
            return Verdict::Wrong(self.challenges(now, protection, source, false));
        };
        if !self.counts.take(now, nonce, credentials.count) {
            self.judged.stale += 1;
            return Verdict::Challenged(self.challenges(now, protection, source, true));
        }
        self.judged.passed += 1;
        Verdict::Passed { user }
    }

    /// Whose password was known to whoever made these. It takes the same time for every wrong one.
    fn proved(&self, users: &Users, credentials: &Credentials, method: &str) -> Option<Arc<str>> {
        let found = users.find(&credentials.user, credentials.is_hashed, credentials.algorithm);
        let ha1 = found.map_or(&self.nobody, |(_, ha1)| ha1);
        let proof = Proof {
            nonce: &credentials.nonce,
            count: &credentials.count_text,
            cnonce: &credentials.cnonce,
            method,
            uri: &credentials.uri,
        };
        let expected = proof.response(credentials.algorithm, ha1);
        let given = credentials.response.to_ascii_lowercase();
        let is_right = bool::from(expected.as_bytes().ct_eq(given.as_bytes()));
        found.filter(|_| is_right).map(|(name, _)| Arc::clone(name))
    }

    /// A challenge for each algorithm that somebody has a password of, all of one nonce.
    fn challenges(
        &mut self,
        now: Mono,
        protection: &Protection<'_>,
        source: IpAddr,
        is_stale: bool,
    ) -> Vec<String> {
        let nonce = self.nonces.issue(now, protection.scope, source);
        let stale = if is_stale { ", stale=true" } else { "" };
        let realm = protection.realm.replace('\\', "\\\\").replace('"', "\\\"");
        let mut algorithms = protection.users.algorithms();
        if algorithms.is_empty() {
            // Nobody can pass; what is asked for then says nothing about that.
            algorithms = Algorithm::ALL.to_vec();
        }
        let challenge = |algorithm: &Algorithm| {
            // Hashed names came with SHA-256; clients from before may not expect the parameter.
            let hash = if *algorithm == Algorithm::Md5 { "" } else { ", userhash=true" };
            let token = algorithm.token();
            format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={token}, qop=\"auth\"{hash}{stale}"
            )
        };
        algorithms.iter().map(challenge).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
    use sipx_sip::auth::{Challenge, Credentials as Known, respond};

    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const NOW: Mono = Mono(9_000_000_000);

    fn users(algorithms: &[Algorithm]) -> Users {
        let line = |a: &Algorithm| Users::line("sbc", "here", *a, &Ha1::of(*a, "sbc", "here", "sesame"));
        Users::read(&algorithms.iter().map(line).collect::<Vec<_>>().join("\n"), "here").unwrap()
    }

    fn judge(of: &mut Authenticator, users: &Users, source: IpAddr, values: &[String]) -> Verdict {
        of.judge(NOW, &Protection { scope: "s", realm: "here", users }, source, "INVITE", values)
    }

    /// Another's client, so that no error is made twice.
    fn answer(challenge: &str, password: &str, count: u32) -> String {
        let challenge = Challenge::parse(challenge.as_bytes(), false).unwrap();
        respond(&challenge, &Known::new("sbc", password), "INVITE", "sip:rec@192.0.2.9", count, "c0")
    }

    fn challenged(verdict: Verdict) -> Vec<String> {
        match verdict {
            Verdict::Challenged(challenges) | Verdict::Wrong(challenges) => challenges,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_best_is_offered_first_and_each_passes_once() {
        let users = users(&Algorithm::ALL);
        let mut authenticator = Authenticator::new([3; 32]);
        let challenges = challenged(judge(&mut authenticator, &users, HOME, &[]));
        let algorithms: Vec<_> = challenges
            .iter()
            .map(|c| Challenge::parse(c.as_bytes(), false).unwrap().algorithm.as_str())
            .collect();
        assert_eq!(algorithms, ["SHA-256", "MD5"]);
        for (count, challenge) in (1..).zip(&challenges) {
            let answer = [answer(challenge, "sesame", count)];
            let passed = judge(&mut authenticator, &users, HOME, &answer);
            assert_eq!(passed, Verdict::Passed { user: "sbc".into() });
            let again = challenged(judge(&mut authenticator, &users, HOME, &answer));
            assert!(again[0].ends_with("stale=true"), "{again:?}");
        }
        let expected = Judged { passed: 2, missing: 1, stale: 2, ..Judged::default() };
        assert_eq!(authenticator.judged(), expected);
    }

    #[test]
    fn only_what_somebody_has_is_offered() {
        let users = users(&[Algorithm::Md5]);
        let mut authenticator = Authenticator::new([3; 32]);
        let challenges = challenged(judge(&mut authenticator, &users, HOME, &[]));
        assert!(challenges.len() == 1 && challenges[0].contains("MD5"), "{challenges:?}");
        let nobody = Users::default();
        let challenges = challenged(judge(&mut authenticator, &nobody, HOME, &[]));
        assert_eq!(challenges.len(), 2, "{challenges:?}");
        let wrong = judge(&mut authenticator, &nobody, HOME, &[answer(&challenges[0], "", 1)]);
        assert!(matches!(wrong, Verdict::Wrong(_)));
    }

    #[test]
    fn a_hashed_name_passes() {
        let users = users(&[Algorithm::Sha256]);
        let mut authenticator = Authenticator::new([3; 32]);
        let challenge = &challenged(judge(&mut authenticator, &users, HOME, &[]))[0];
        let hashed = Algorithm::Sha256.hash(&["sbc", "here"]);
        let answer =
            answer(challenge, "sesame", 1).replace("\"sbc\"", &format!("\"{hashed}\"")) + ", userhash=true";
        assert!(matches!(judge(&mut authenticator, &users, HOME, &[answer]), Verdict::Passed { .. }));
    }

    #[test]
    fn a_wrong_password_is_not_stale_and_guessing_ends() {
        let users = users(&[Algorithm::Sha256]);
        let mut authenticator = Authenticator::new([3; 32]);
        let mut challenges = challenged(judge(&mut authenticator, &users, HOME, &[]));
        for _ in 0..20 {
            let wrong = judge(&mut authenticator, &users, HOME, &[answer(&challenges[0], "open", 1)]);
            assert!(matches!(wrong, Verdict::Wrong(_)));
            challenges = challenged(wrong);
            assert!(!challenges[0].contains("stale"));
        }
        let right = [answer(&challenges[0], "sesame", 1)];
        assert_eq!(judge(&mut authenticator, &users, HOME, &right), Verdict::Locked);
        let none = judge(&mut authenticator, &users, HOME, &[]);
        assert!(matches!(none, Verdict::Challenged(_)), "who shows nothing learns nothing");
        assert_eq!(authenticator.judged(), Judged { missing: 2, wrong: 20, locked: 1, ..Judged::default() });
        let other = [192, 0, 2, 2].into();
        let there = challenged(judge(&mut authenticator, &users, other, &[]));
        let passed = judge(&mut authenticator, &users, other, &[answer(&there[0], "sesame", 1)]);
        assert!(matches!(passed, Verdict::Passed { .. }));
    }

    /// A forged address cannot have its owner locked out: what is sent to it is never seen by who forges it.
    #[test]
    fn nonces_of_others_count_as_no_failure() {
        let users = users(&[Algorithm::Sha256]);
        let mut authenticator = Authenticator::new([3; 32]);
        let thief = [203, 0, 113, 1].into();
        let challenges = challenged(judge(&mut authenticator, &users, thief, &[]));
        for _ in 0..100 {
            let stale =
                challenged(judge(&mut authenticator, &users, HOME, &[answer(&challenges[0], "x", 1)]));
            assert!(stale[0].contains("stale=true"));
        }
        assert!(!authenticator.failures.is_locked(NOW, HOME));
    }

    #[test]
    fn credentials_for_others_stand_beside_ours() {
        let users = users(&[Algorithm::Sha256]);
        let mut authenticator = Authenticator::new([3; 32]);
        let challenge = &challenged(judge(&mut authenticator, &users, HOME, &[]))[0];
        let theirs = answer(&challenge.replace("here", "there"), "sesame", 1);
        let values = ["Basic x".to_owned(), theirs, answer(challenge, "sesame", 1)];
        assert!(matches!(judge(&mut authenticator, &users, HOME, &values), Verdict::Passed { .. }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_never_pass(value in any::<String>(), cut in any::<prop::sample::Index>()) {
            let users = users(&Algorithm::ALL);
            let mut authenticator = Authenticator::new([3; 32]);
            let challenge = &challenged(judge(&mut authenticator, &users, HOME, &[]))[0];
            let right = answer(challenge, "sesame", 1);
            let parts = (0..=cut.index(right.len())).rev().find_map(|at| right.split_at_checked(at));
            let spoiled = parts.map(|(head, tail)| format!("{head}{value}{tail}")).unwrap();
            for value in [value.clone(), format!("Digest {value}"), spoiled] {
                let verdict = judge(&mut authenticator, &users, HOME, std::slice::from_ref(&value));
                if matches!(verdict, Verdict::Passed { .. }) {
                    // Blanks and further parameters change nothing.
                    let read = Credentials::read(&value).unwrap();
                    prop_assert_eq!(&read.response, &Credentials::read(&right).unwrap().response);
                }
            }
            prop_assert!(matches!(judge(&mut authenticator, &users, HOME, &[]), Verdict::Challenged(_)));
        }
    }
}
