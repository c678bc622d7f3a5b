//! Which number each node has. A node says so itself, and its certificate proves its name alone: so a number is believed
//! as long as the same name says it, and nobody else does.
//!
//! What is gathered where, and for whom a copy may be given up, is decided by numbers. Two nodes of one number are told
//! of, and the second one is not spoken to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{NodeNumber, PeerName};

/// Clashes that wait to be told of: each is told once, and more than these are no accident.
const CLASHES_MAX: usize = 64;

/// What nodes said of their numbers since the start. All that are told of it know the same.
#[derive(Clone, Debug)]
pub struct Roster(Arc<Mutex<Said>>);

/// Numbers are few, and each has one name: neither map grows beyond them.
#[derive(Debug)]
struct Said {
    by_name: BTreeMap<PeerName, NodeNumber>,
    by_number: BTreeMap<NodeNumber, PeerName>,
    /// Those that were told of, and whether that is done.
    clashes: BTreeSet<String>,
    untold: Vec<String>,
    own: NodeNumber,
}

impl Roster {
    /// One that knows of the node that it is at.
    #[must_use]
    pub fn new(own: &PeerName, number: NodeNumber) -> Self {
        Self(Arc::new(Mutex::new(Said {
            by_name: BTreeMap::from([(own.clone(), number)]),
            by_number: BTreeMap::from([(number, own.clone())]),
            clashes: BTreeSet::new(),
            untold: Vec::new(),
            own: number,
        })))
    }

    /// The number of the node that it is at.
    #[must_use]
    pub fn own(&self) -> NodeNumber {
        self.said().own
    }

    /// A node says its number.
    ///
    /// # Errors
    /// When that cannot be, in a line for people.
    pub(crate) fn says(&self, name: &PeerName, number: NodeNumber) -> Result<(), String> {
        let mut said = self.said();
        let why = match (said.by_name.get(name), said.by_number.get(&number)) {
            (Some(before), _) if *before == number => return Ok(()),
            (_, Some(other)) => format!(
                "nodes {other} and {name} both say that they are node {}: give each a node.number of its own",
                number.get()
            ),
            (Some(before), None) => format!(
                "node {name} says that it is node {} and was node {}: a number stays; restart this node if that is meant",
                number.get(),
                before.get()
            ),
            (None, None) => {
                said.by_name.insert(name.clone(), number);
                said.by_number.insert(number, name.clone());
                return Ok(());
            }
        };
        if said.clashes.len() < CLASHES_MAX && said.clashes.insert(why.clone()) {
            said.untold.push(why.clone());
        }
        Err(why)
    }

    /// What cannot be and was not told of yet.
    #[must_use]
    pub fn clashes(&self) -> Vec<String> {
        std::mem::take(&mut self.said().untold)
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_belongs_to_one_name_and_a_name_keeps_its_number() {
        let name = |name: &str| name.parse::<PeerName>().unwrap();
        let number = |n| NodeNumber::new(n).unwrap();
        let roster = Roster::new(&name("rec1"), number(1));
        for (who, says, is_believed) in [
            ("rec2", 2, true),
            ("rec2", 2, true),
            ("rec3", 2, false),
            ("rec3", 2, false),
            ("rec3", 1, false),
            ("rec2", 4, false),
            ("rec3", 3, true),
            ("rec1", 1, true),
        ] {
            assert_eq!(roster.says(&name(who), number(says)).is_ok(), is_believed, "{who} {says}");
        }
        let told = roster.clashes();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("rec2 and rec3 both say that they are node 2"), "{told:?}");
        assert_eq!(roster.clashes(), Vec::<String>::new());
    }
}
