//! Calls of one conversation at two proxies: how each hears of the other's.
//!
//! ```text
//!  proxy ──[Telling]──Sighted──► record server ──[Board]──SightedElsewhere──► both proxies ──► Front::heard_of
//! ```
//!
//! A proxy tells every record server on another node that is linked by which signs its calls are recognized. A record
//! server compares what proxies say, and tells two of them when calls of theirs have a sign in common; it holds what those
//! that are linked said by their links, and no more. It does not matter which of the two calls came first, nor which of
//! several record servers says so, nor how often: what two calls have in common is told whenever one of them is told of.
//!
//! It decides nothing: that two calls are one is found by [`crate::Front`], and stands in the logs of both.

mod board;
mod telling;

pub(crate) use board::Board;
pub(crate) use telling::Telling;
