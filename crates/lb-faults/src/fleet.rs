//! The backends of a scenario: processes that can be killed, restarted on their port, frozen and told how to behave.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lb_testkit::{PATIENCE, Port, Process, eventually, fetch};
use tempfile::TempDir;

use crate::backend::{BEHAVE, SETTINGS, Settings};
use crate::behaviour::Behaviour;
use crate::ledger::{self, Entry};

/// Starts a program that calls [`backend::serve_if_asked`](crate::backend::serve_if_asked); its settings are added.
pub type BackendCommand = fn() -> Command;

/// Backends by position.
pub(crate) struct Fleet {
    members: Vec<Member>,
    command: BackendCommand,
    directory: TempDir,
}

struct Member {
    port: Port,
    settings: Settings,
    process: Option<Process>,
}

impl Fleet {
    /// Start `count` backends that work on `places` requests at once, each for `service`.
    pub(crate) fn start(command: BackendCommand, count: usize, service: Duration, places: usize) -> Self {
        let directory = TempDir::new().unwrap();
        let mut fleet = Self { members: Vec::new(), command, directory };
        for position in 0..count {
            let port = Port::free();
            let settings = Settings {
                position,
                address: port.address(),
                ledger: fleet.directory.path().join(format!("backend-{position}")),
                service_ms: u64::try_from(service.as_millis()).unwrap(),
                places,
                parent: std::process::id(),
            };
            fleet.members.push(Member { port, settings, process: None });
            fleet.restart(position);
        }
        fleet
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where each is to be reached.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://{}", member.port.address())).collect()
    }

    /// End it at once, with everything it has in hand.
    pub(crate) fn kill(&mut self, position: usize) {
        if let Some(mut process) = self.members[position].process.take() {
            process.signal("KILL");
            process.wait(PATIENCE);
        }
    }

    /// Start it on its port, and wait until it accepts.
    pub(crate) fn restart(&mut self, position: usize) {
        let member = &mut self.members[position];
        let mut command = (self.command)();
        command.env(SETTINGS, serde_json::to_string(&member.settings).unwrap());
        member.process = Some(Process::spawn(&mut command));
        eventually("a backend listens", PATIENCE, || TcpStream::connect(member.port.address()).is_ok());
    }

    /// Stop it amid everything; the kernel goes on accepting for it.
    pub(crate) fn freeze(&self, position: usize) {
        self.signal(position, "STOP");
    }

    /// Let it go on.
    pub(crate) fn thaw(&self, position: usize) {
        self.signal(position, "CONT");
    }

    fn signal(&self, position: usize, name: &str) {
        self.members[position].process.as_ref().expect("a process to signal").signal(name);
    }

    /// Have it behave so from the next request on.
    pub(crate) fn behave(&self, position: usize, behaviour: &Behaviour) {
        let address = self.members[position].port.address();
        let response = fetch(address, "PUT", &format!("{BEHAVE}{behaviour}"), &[]);
        assert_eq!(response.status, 204);
    }

    /// Have all behave so.
    pub(crate) fn all_behave(&self, behaviour: &Behaviour) {
        (0..self.len()).for_each(|position| self.behave(position, behaviour));
    }

    /// Everything that each has received.
    pub(crate) fn ledgers(&self) -> Vec<Vec<Entry>> {
        let file = |member: &Member| -> PathBuf { member.settings.ledger.clone() };
        self.members.iter().map(|member| ledger::read(&file(member))).collect()
    }
}
