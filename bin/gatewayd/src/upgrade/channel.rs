//! What a process and the one that takes over from it say to each other, on a socket pair that nobody else has: one message a
//! packet, JSON, with descriptors beside it.
//!
//! The old one sends a [`Hello`] with what it knows in a file that has no name, then its sockets; the new one sends one
//! [`Answer`]. Both may be of different versions: fields that one does not know are passed over, and another
//! [`FORM`] is refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use lb_discovery::{KnownMembers, Registered};
use lb_health::SavedState;
use lb_http::{InheritedKeys, InheritedRollback};
use lb_tls::{QuicKeys, ServerKeys};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::edits::Edit;

/// The form of the messages.
pub(crate) const FORM: u32 = 1;
/// Sockets in one message; the kernel takes 253.
pub(crate) const SOCKETS_A_MESSAGE: usize = 32;
/// The longest message.
const MAX_MESSAGE: usize = 64 << 10;
/// The most of an error's text that is told.
pub(crate) const MAX_TEXT: usize = 16 << 10;
/// The most that one process tells the next of what it knows.
const MAX_STATE: u64 = 64 << 20;

/// The first message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) form: u32,
    /// How many sockets follow.
    pub(crate) sockets: usize,
}

/// What no file says of the process before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// What it knows of its backends.
    #[serde(default)]
    pub(crate) health: Option<SavedState>,
    /// What operators have changed.
    #[serde(default)]
    pub(crate) edits: Vec<Edit>,
    /// Who has registered, by upstream.
    #[serde(default)]
    pub(crate) registered: BTreeMap<String, Vec<Registered>>,
    /// What other sources have told.
    #[serde(default)]
    pub(crate) discovered: Vec<KnownMembers>,
    /// Parts of splits that it has taken back.
    #[serde(default)]
    pub(crate) rollbacks: Vec<InheritedRollback>,
    /// The keys of the session tickets that its clients have, and the certificates of its own making that they have been shown.
    #[serde(default)]
    pub(crate) tickets: Vec<ListenerKeys>,
    /// What its sockets for packets sign with.
    #[serde(default)]
    pub(crate) packets: Vec<PacketKeys>,
}

/// The keys of a socket for packets.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PacketKeys {
    pub(crate) listener: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) keys: QuicKeys,
}

/// What the TLS of a listener leaves to the next process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListenerKeys {
    listener: String,
    address: std::net::SocketAddr,
    keys: ServerKeys,
}

impl ListenerKeys {
    pub(crate) fn of(InheritedKeys { listener, address, keys }: InheritedKeys) -> Self {
        Self { listener, address, keys }
    }

    pub(crate) fn into_inherited(self) -> InheritedKeys {
        let Self { listener, address, keys } = self;
        InheritedKeys { listener, address, keys }
    }
}

/// A socket whose descriptor is beside the message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) purpose: Purpose,
    pub(crate) name: String,
    pub(crate) address: std::net::SocketAddr,
    /// How many processes have had a socket for packets, modulo 256.
    #[serde(default)]
    pub(crate) generation: u8,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Clients.
    Listener,
    /// Operators.
    Admin,
    /// Clients of HTTP/3.
    Packets,
    /// The way back of packets that belong to the process before; behind the socket that it is of.
    PacketsBefore,
    /// Something that a later version has.
    #[serde(other)]
    Unknown,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The new process serves.
    Ready {
        /// Its version.
        version: String,
    },
    /// It does not, and ends.
    Failed {
        /// Why, for people.
        text: String,
    },
}

/// Bounds how long a message may take to be sent and to be received.
pub(crate) fn set_patience(channel: impl AsFd, patience: Duration) -> io::Result<()> {
    // Zero would be for ever.
    let patience = Some(patience.max(Duration::from_millis(1)));
    set_socket_timeout(&channel, Timeout::Recv, patience)?;
    Ok(set_socket_timeout(&channel, Timeout::Send, patience)?)
}

/// Sends a message.
pub(crate) fn send(
    channel: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_A_MESSAGE))];
    let mut beside = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors in one message"));
    }
    sendmsg(channel, &[IoSlice::new(&text)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a message; `None` where the other side has ended.
pub(crate) fn receive<M: for<'a> Deserialize<'a>>(
    channel: impl AsFd,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut text = vec![0; MAX_MESSAGE];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_A_MESSAGE))];
    let mut beside = RecvAncillaryBuffer::new(&mut room);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut text)];
        match recvmsg(&channel, &mut parts, &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    let descriptors = beside.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let descriptors = descriptors.collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message was cut off: no descriptor may be left"));
    }
    text.truncate(received.bytes);
    Ok(Some((serde_json::from_slice(&text)?, descriptors)))
}

/// A file that has no name, with this in it.
pub(crate) fn nameless(content: &impl Serialize) -> io::Result<File> {
    let mut file = File::from(memfd_create("gatewayd-state", MemfdFlags::CLOEXEC)?);
    // There are keys in it.
    let text = Zeroizing::new(serde_json::to_vec(content)?);
    file.write_all(&text)?;
    file.rewind()?;
    Ok(file)
}

/// What is in such a file.
pub(crate) fn content<T: for<'a> Deserialize<'a>>(file: OwnedFd) -> io::Result<T> {
    let mut text = Zeroizing::new(Vec::new());
    File::from(file).take(MAX_STATE).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn a_message_arrives_with_its_descriptors_and_an_end_as_none() {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let file = nameless(&vec![1, 2, 3]).unwrap();
        send(&one, &Hello { form: FORM, sockets: 7 }, &[file.as_fd()]).unwrap();
        send(&one, &Purpose::Admin, &[]).unwrap();
        drop(one);
        let (hello, mut descriptors) = receive::<Hello>(&other).unwrap().unwrap();
        assert_eq!((hello.form, hello.sockets), (FORM, 7));
        assert_eq!(content::<Vec<u8>>(descriptors.remove(0)).unwrap(), [1, 2, 3]);
        let (purpose, descriptors) = receive::<Purpose>(&other).unwrap().unwrap();
        assert_eq!((purpose, descriptors.len()), (Purpose::Admin, 0));
        assert!(receive::<Purpose>(&other).unwrap().is_none());
    }

    #[test]
    fn what_a_later_version_has_is_passed_over() {
        let described = "{\"purpose\":\"quic\",\"name\":\"a\",\"address\":\"127.0.0.1:1\",\"more\":1}";
        assert_eq!(serde_json::from_str::<Described>(described).unwrap().purpose, Purpose::Unknown);
    }
}
