//! How the gathering of a call stands, for whoever asks what is missing, where, and since when.

use std::fmt;

use model::{CallKey, NodeNumber, SegmentId, WallTime};

/// Something that a call waits for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lack {
    /// The call is not known to have ended.
    NotEnded,
    /// Nobody is known to have the segment of this number.
    Number(u16),
    /// So many record servers that may have it cannot be asked.
    Servers(usize),
    /// A segment is live.
    Live(SegmentId, NodeNumber),
    /// All copies of a segment are at nodes that cannot be spoken to.
    Away(SegmentId, Vec<NodeNumber>),
    /// All copies of a segment that can be had are not what was sealed.
    Spoiled(SegmentId, Vec<NodeNumber>),
    /// The copy of a segment here is given up and not removed yet, and no other can be had.
    GivenUp(SegmentId),
    /// Copies of a segment differ: each stays where it is.
    Differs(SegmentId, Vec<NodeNumber>),
    /// A node that can be spoken to has not said yet what it has.
    Unheard(NodeNumber),
    /// A node has copies that it is to give up.
    Copies(NodeNumber),
    /// No node has room for the whole call.
    NoRoom,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnded => f.write_str("the call is not known to have ended"),
            Self::Number(n) => write!(f, "nobody is known to have segment number {n}"),
            Self::Servers(n) => write!(f, "record servers that may have it cannot be asked ({n})"),
            Self::Live(segment, node) => write!(f, "segment {segment} is live at node {}", node.get()),
            Self::Away(segment, at) => write!(f, "segment {segment} is at {}, away", Nodes(at)),
            Self::Spoiled(segment, at) => {
                write!(f, "segment {segment} is not what was sealed at {}", Nodes(at))
            }
            Self::GivenUp(segment) => write!(f, "segment {segment} was given up here and is not removed yet"),
            Self::Differs(segment, at) => {
                write!(f, "segment {segment} differs between {}: each stays", Nodes(at))
            }
            Self::Unheard(node) => write!(f, "node {} has not said what it has", node.get()),
            Self::Copies(node) => write!(f, "node {} has copies that it is to give up", node.get()),
            Self::NoRoom => f.write_str("no node has room for the whole call"),
        }
    }
}

/// Nodes, for people.
struct Nodes<'a>(&'a [NodeNumber]);

impl fmt::Display for Nodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(|node| node.get().to_string()).collect();
        write!(f, "node {}", numbers.join(", "))
    }
}

/// What is done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nothing is moved, by configuration.
    Virtual,
    /// It waits for what is missing.
    Waiting,
    /// It waits for its window.
    Window,
    /// Another node gathers it.
    LedBy(NodeNumber),
    /// It is being gathered here, or will be after a failure.
    Gathering,
    /// It is gathered here, and others have copies still.
    Gathered,
    /// Nothing is left to be done.
    Done,
}

/// How a call stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The call.
    pub call: CallKey,
    /// What is done about it.
    pub stage: Stage,
    /// What is missing, each since when.
    pub lacks: Vec<(Lack, WallTime)>,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub trouble: Option<String>,
}
