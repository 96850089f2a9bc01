//! The stages of a worker's life.

/// How far a worker's life is to go; each is an end to what the one before allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It accepts.
    Serving,
    /// Another process accepts from the same sockets: this one serves who is connected, once more and idle ones too.
    Left,
    /// Its sockets are closed, idle connections with them.
    Closing,
    /// Time is up: what is still under way is cut, and recorded so.
    Over,
}
