//! What nodes ask of each other's copies, and answer, as octets.
//!
//! ```text
//!  request   JSON
//!  answer    │ length of the JSON: 4 octets, big end first │ JSON │ octets of a file, where it is answered by those │
//! ```

use bytes::Bytes;
use model::{Answer, Request};

/// A request, at most: one to give up 4,096 copies has some 500 kB.
pub(crate) const REQUEST_MAX: usize = 1 << 20;
/// The JSON of an answer, at most: what a node holds of a call of 4,096 segments has some 2 MB.
const JSON_MAX: usize = 4 << 20;
/// Octets of a file, at most: whoever asks asks for no more at once.
const OCTETS_MAX: usize = 1 << 20;
/// An answer, at most.
pub(crate) const ANSWER_MAX: usize = LENGTH + JSON_MAX + OCTETS_MAX;
/// Octets of the length.
const LENGTH: usize = 4;

/// A request as octets.
pub(crate) fn request(request: &Request) -> Result<Bytes, String> {
    let json = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    if json.len() > REQUEST_MAX {
        return Err(format!("what is asked takes {} octets, and {REQUEST_MAX} are allowed", json.len()));
    }
    Ok(json.into())
}

/// What is asked.
pub(crate) fn read_request(octets: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(octets).map_err(|error| error.to_string())
}

/// An answer as octets.
pub(crate) fn answer(answer: &Answer) -> Result<Bytes, String> {
    let json = serde_json::to_vec(answer).map_err(|error| error.to_string())?;
    let octets: &[u8] = match answer {
        Answer::Octets { octets, .. } => octets,
        _ => &[],
    };
    if json.len() > JSON_MAX || octets.len() > OCTETS_MAX {
        return Err(format!("the answer takes {} octets", json.len() + octets.len()));
    }
    let length = u32::try_from(json.len()).map_err(|error| error.to_string())?;
    Ok([&length.to_be_bytes(), &json[..], octets].concat().into())
}

/// What is answered. Whatever comes, it is no more than what came.
pub(crate) fn read_answer(octets: &[u8]) -> Result<Answer, String> {
    let cut = || "the answer is cut off".to_owned();
    let (length, rest) = octets.split_first_chunk::<LENGTH>().ok_or_else(cut)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > JSON_MAX {
        return Err(format!("it announces {length} octets of JSON"));
    }
    let (json, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    match serde_json::from_slice(json).map_err(|error| error.to_string())? {
        Answer::Octets { is_end, .. } if rest.len() <= OCTETS_MAX => {
            Ok(Answer::Octets { octets: rest.to_vec(), is_end })
        }
        answer if rest.is_empty() => Ok(answer),
        _ => Err(format!("{} octets stand behind an answer that has none", rest.len())),
    }
}

#[cfg(test)]
mod tests {
    use model::{CallHoldings, CallId, CallKey, Declined, TenantId, WallTime};
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    fn key() -> CallKey {
        CallKey { call: CallId::from_u64(7), call_started: WallTime(0), tenant: TenantId::default() }
    }

    #[test]
    fn what_is_asked_and_answered_comes_out_as_it_went_in() {
        let asked = Request::List { call: key() };
        assert_eq!(read_request(&request(&asked).unwrap()), Ok(asked));
        for said in [
            Answer::Octets { octets: vec![0, 255, 7], is_end: true },
            Answer::Octets { octets: Vec::new(), is_end: false },
            Answer::Held { room: 5, held: CallHoldings::nothing(key()) },
            Answer::Deleted,
            Answer::Declined(Declined::Disk("full".to_owned())),
        ] {
            assert_eq!(read_answer(&answer(&said).unwrap()), Ok(said));
        }
    }

    #[test]
    fn what_is_too_long_is_neither_said_nor_believed() {
        let long = Answer::Octets { octets: vec![0; OCTETS_MAX + 1], is_end: true };
        assert!(answer(&long).is_err());
        let most = Answer::Octets { octets: vec![0; OCTETS_MAX], is_end: true };
        let mut octets = answer(&most).unwrap().to_vec();
        assert!(octets.len() <= ANSWER_MAX && read_answer(&octets).is_ok());
        octets.push(0);
        assert!(read_answer(&octets).is_err());
        octets[0] = 255;
        assert!(read_answer(&octets).is_err());
        let behind = [&answer(&Answer::Deleted).unwrap()[..], &[1]].concat();
        assert!(read_answer(&behind).is_err());
        assert!(read_answer(&behind[..6]).is_err() && read_answer(&[]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read_request(&octets), read_answer(&octets));
            let behind = [&answer(&Answer::Deleted).unwrap()[..], &octets].concat();
            assert_eq!(read_answer(&behind).is_ok(), octets.is_empty());
        }
    }
}
