//! Decision records: what was decided of a request while it lasted, and why, kept for who asks for it by its id.
//!
//! A [`Trail`] goes with the exchange and takes down attempts and candidates; when the exchange ends it goes into its worker's ring
//! in the [`DecisionLog`], from where it is read as a [`Decision`].
//!
//! Cost of an exchange where records are kept: one look at the clock an attempt, the state of at most [`MAX_SEEN`] backends, and
//! at its end some hundred bytes copied into a record that is used anew, under a lock that is the worker's own. Nothing is
//! allocated once the rings are full, but for the slip on which the fate of a request's copy is written. Where no records are kept: one comparison at each of these places.

mod kept;
mod log;
mod mirrored;
mod read;
mod trail;

pub use log::{DecisionLog, Found, Reach};
pub use mirrored::{Comparison, CopyOutcome, CopySlip, DecisionMirror, Fate, Mirrored};
pub use read::{Decision, DecisionAttempt, DecisionCandidate, DecisionClient, DecisionUpstream};
pub use trail::{MAX_SEEN, Seen, Step, Trail, WhyNot};

#[cfg(test)]
mod tests;
