//! How the gathering of a call stands, in words: for the page, the interface and commands.

use model::{CallId, TenantId, WallTime};
use serde::{Deserialize, Serialize};
use spool::gathering::{Mode, Stage, Standing};

/// Things that are missing that are told; of a call of a day more may be.
const MISSING_MAX: usize = 64;

/// One call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct CallStands {
    pub(crate) call: CallId,
    pub(crate) tenant: TenantId,
    /// A word: `virtual`, `waiting`, `window`, `elsewhere`, `gathering`, `gathered`, `done`.
    pub(crate) stage: String,
    /// The node that gathers it, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<u16>,
    /// What is missing, and since when.
    pub(crate) missing: Vec<Missing>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

/// Something that is missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) since: WallTime,
}

impl From<Standing> for CallStands {
    fn from(standing: Standing) -> Self {
        let Standing { call, stage, lacks, failures, trouble } = standing;
        let (word, by) = match stage {
            Stage::Virtual => ("virtual", None),
            Stage::Waiting => ("waiting", None),
            Stage::Window => ("window", None),
            Stage::LedBy(node) => ("elsewhere", Some(node.get())),
            Stage::Gathering => ("gathering", None),
            Stage::Gathered => ("gathered", None),
            Stage::Done => ("done", None),
        };
        let missing = lacks.into_iter().take(MISSING_MAX);
        Self {
            call: call.call,
            tenant: call.tenant,
            stage: word.to_owned(),
            by,
            missing: missing.map(|(lack, since)| Missing { what: lack.to_string(), since }).collect(),
            failures,
            trouble,
        }
    }
}

impl CallStands {
    /// Of a call that nothing is left to be done about.
    pub(super) fn at_rest(call: CallId, tenant: TenantId, mode: Mode) -> Self {
        let stage = if mode == Mode::Virtual { "virtual" } else { "done" };
        let missing = Vec::new();
        Self { call, tenant, stage: stage.to_owned(), by: None, missing, failures: 0, trouble: None }
    }

    /// In a sentence.
    pub(crate) fn describe(&self) -> String {
        match (self.stage.as_str(), self.by) {
            ("virtual", _) => "its segments stay where they are, and are played from there".to_owned(),
            ("waiting", _) => "it waits for what is missing".to_owned(),
            ("window", _) => "it waits for the hours in which this node gathers".to_owned(),
            ("elsewhere", Some(node)) => format!("node {node} gathers it"),
            ("gathering", _) => "it is being gathered here".to_owned(),
            ("gathered", _) => "it is gathered here, and others have copies yet".to_owned(),
            _ => "nothing is left to be gathered here".to_owned(),
        }
    }

    /// Whether time alone may bring it on.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.stage.as_str(), "gathering")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CallKey, NodeNumber};
    use spool::gathering::Lack;

    #[test]
    fn what_is_missing_is_said_and_comes_back_from_json() {
        let node = NodeNumber::new(2).unwrap();
        let call =
            CallKey { call: CallId::from_u64(7), call_started: WallTime(0), tenant: TenantId::default() };
        let lacks = vec![(Lack::Unheard(node), WallTime(5_000))];
        let stage = Stage::LedBy(node);
        let stands = CallStands::from(Standing { call, stage, lacks, failures: 1, trouble: None });
        assert_eq!((stands.stage.as_str(), stands.by, stands.failures), ("elsewhere", Some(2), 1));
        assert!(stands.missing[0].what.contains("node 2 has not said"), "{stands:?}");
        assert_eq!(stands.describe(), "node 2 gathers it");
        let text = serde_json::to_string(&stands).unwrap();
        assert_eq!(serde_json::from_str::<CallStands>(&text).unwrap(), stands);
    }
}
