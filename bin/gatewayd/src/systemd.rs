//! What systemd is told, where it has asked for it (`Type=notify` or `notify-reload`; sd_notify(3)).

use sd_notify::NotifyState;

/// The gateway serves, or has read its configuration again.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The configuration is being read again.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

/// The gateway drains.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Another process serves in place of this one, which is allowed to end.
pub(crate) fn main_process(pid: u32) {
    notify(&[NotifyState::MainPid(pid), NotifyState::Ready]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}
