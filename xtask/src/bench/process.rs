//! A program started for a benchmark: pinned to a core, in a process group of its own, ended with everything it forked when the
//! guard is dropped, and by the kernel should this program be killed outright.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::interrupt::Interrupt;

/// Which half of the machine a program runs on.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    /// Core 0: what is measured.
    Proxy,
    /// Core 1: the load and the origins.
    Load,
}

impl Core {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Core::Proxy => 0,
            Core::Load => 1,
        }
    }

    /// Time in which anything at all had the core since start-up, in nanoseconds, to a hundredth of a second. What a hypervisor
    /// took away counts too.
    pub(crate) fn busy_ns(self) -> u64 {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{} ", self.number())));
        // user nice system idle iowait irq softirq steal, in ticks of 10 ms
        let fields = line.unwrap_or_default().split_ascii_whitespace().take(8).enumerate();
        let busy = fields.filter(|(index, _)| ![3, 4].contains(index));
        busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000_000
    }
}

/// Processor time of a process group so far, in nanoseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct CpuTime {
    /// Spent running.
    pub(crate) ran: u64,
    /// Spent ready to run while something else had the core.
    pub(crate) waited: u64,
}

/// A running program; dropping it ends its whole process group.
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Start `program` on `core`. What it prints goes to `<name>.log` under `directory`.
    pub(crate) fn start(
        name: &str,
        core: Core,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        directory: &Path,
    ) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;

        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log)?;
        // Both replace themselves with what follows, so the child's id is the program's.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--", "taskset", "-c", &core.number().to_string()])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context("setpriv does not start; it and taskset come with util-linux")?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Wait until `port` accepts connections.
    pub(crate) fn wait_for_port(&mut self, port: u16, interrupt: &Interrupt) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} left before it listened ({status}): {}", self.name, self.log_tail());
            }
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen on {address} after 15 s: {}", self.name, self.log_tail());
            }
            interrupt.sleep(Duration::from_millis(20))?;
        }
    }

    /// Wait for the program to end by itself and give back what it printed.
    pub(crate) fn output(mut self, limit: Duration, interrupt: &Interrupt) -> Result<String> {
        let status = self.wait(limit, interrupt)?;
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, self.log_tail());
        }
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Wait for the program to end, well or not.
    pub(crate) fn wait(&mut self, limit: Duration, interrupt: &Interrupt) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} has not ended after {} s", self.name, limit.as_secs());
            }
            interrupt.sleep(Duration::from_millis(10))?;
        }
    }

    /// Ask the whole group to end and wait until it has, for programs that write something then.
    pub(crate) fn end(self, limit: Duration, interrupt: &Interrupt) -> Result<()> {
        kill_process_group(self.group(), Signal::TERM)?;
        let deadline = Instant::now() + limit;
        while !self.members().is_empty() {
            if Instant::now() > deadline {
                bail!("{} has not ended {} s after SIGTERM", self.name, limit.as_secs());
            }
            interrupt.sleep(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Ask the program to end, as Ctrl-C would; strace prints its table then.
    pub(crate) fn interrupt(&self) -> io::Result<()> {
        Ok(kill_process_group(self.group(), Signal::INT)?)
    }

    /// Ids of all processes of the group that are not yet dead.
    pub(crate) fn members(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|&pid| group_of(pid) == Some(self.child.id()))
            .collect()
    }

    /// Let nothing of normal priority run on its core while any thread of the group can: round-robin time slices of the scheduler
    /// are longer than what is measured. False where this user may not.
    pub(crate) fn run_first(&self, priority: u8) -> bool {
        self.schedule("--fifo", priority)
    }

    /// Takes that back.
    pub(crate) fn run_in_turn(&self) -> bool {
        self.schedule("--other", 0)
    }

    fn schedule(&self, policy: &str, priority: u8) -> bool {
        let members = self.members();
        let is_scheduled = |pid: &u32| {
            let mut chrt = Command::new("chrt");
            chrt.args(["--all-tasks", policy, "--pid", &priority.to_string(), &pid.to_string()]);
            chrt.output().is_ok_and(|output| output.status.success())
        };
        !members.is_empty() && members.iter().all(is_scheduled)
    }

    /// Processor time of all threads of the group. Threads that have ended are missed: workers do not end under load.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        self.cpu_time_of(|_| true)
    }

    /// On-CPU time of all threads whose names begin otherwise.
    pub(crate) fn cpu_ns_beside(&self, name: &str) -> u64 {
        self.cpu_time_of(|thread| !thread.starts_with(name)).ran
    }

    /// Processor time of the threads of such names.
    pub(crate) fn cpu_time_of(&self, is_counted: impl Fn(&str) -> bool) -> CpuTime {
        let mut sum = CpuTime::default();
        for pid in self.members() {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for thread in threads {
                if !is_counted(&fs::read_to_string(thread.path().join("comm")).unwrap_or_default()) {
                    continue;
                }
                let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                let mut fields = text.split_ascii_whitespace().filter_map(|field| field.parse::<u64>().ok());
                sum.ran += fields.next().unwrap_or(0);
                sum.waited += fields.next().unwrap_or(0);
            }
        }
        sum
    }

    /// Resident memory of the group in KiB, pages shared between its processes counted once.
    pub(crate) fn resident_kib(&self) -> u64 {
        let proportional = |pid: u32| -> Option<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        };
        self.members().into_iter().filter_map(proportional).sum()
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(4).collect();
        if lines.is_empty() {
            return "it printed nothing".to_owned();
        }
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    /// SIGTERM to the group, SIGKILL after two seconds. The leader is reaped last: until then its id cannot be given to another
    /// process, so the group is ours for certain.
    fn drop(&mut self) {
        for signal in [Signal::TERM, Signal::KILL] {
            if self.members().is_empty() {
                break;
            }
            // Fails only where the last member has just gone.
            _ = kill_process_group(self.group(), signal);
            let deadline = Instant::now() + Duration::from_secs(2);
            while !self.members().is_empty() && Instant::now() < deadline {
                sleep(Duration::from_millis(20));
            }
        }
        drop(self.child.wait());
    }
}

/// The process group of a process that is not a zombie.
fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (state != "Z").then_some(group)
}
