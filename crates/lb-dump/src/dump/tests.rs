//! The way from a capture to the disk, with disks that are slow, full, or not there.

use super::*;
use std::sync::mpsc::{Receiver, channel};
use std::time::SystemTime;

use crate::writer::Output;
use crate::{Capture, DumpConfig, Ending, Entry, Redaction, RuleDump, Side, read};

fn ending<'a>(uri: &'a http::Uri, request_id: &'a str) -> Ending<'a> {
    Ending {
        backend: "http://10.0.0.1:80",
        client_ip: [127, 0, 0, 1].into(),
        request_id,
        uri,
        status: http::StatusCode::OK,
        attempts: 1,
        aborted: false,
        ended_at: SystemTime::now(),
        duration: Duration::from_millis(3),
    }
}

fn end(capture: &Capture) {
    capture.end(&ending(&http::Uri::from_static("/a"), "r"));
}

fn files(directory: &std::path::Path) -> FilesConfig {
    FilesConfig { directory: directory.to_path_buf(), ..FilesConfig::default() }
}

fn with_bodies(max_body_size: usize) -> DumpConfig {
    DumpConfig { include_body: true, max_body_size, ..DumpConfig::default() }
}

const HEAD: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

/// A disk that does nothing before it is told to.
struct Stalled(Receiver<()>);

impl Output for Stalled {
    fn fits(&self, _bytes: usize) -> bool {
        true
    }

    fn append(&mut self, _lines: &[u8]) -> io::Result<()> {
        self.0.recv().map_err(io::Error::other)
    }

    fn reconfigure(&mut self, _config: FilesConfig) {}
}

/// A disk without room.
struct FullDisk;

impl Output for FullDisk {
    fn fits(&self, _bytes: usize) -> bool {
        true
    }

    fn append(&mut self, _lines: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn reconfigure(&mut self, _config: FilesConfig) {}
}

#[test]
fn an_exchange_reaches_the_disk_with_both_bodies() {
    let directory = tempfile::tempdir().unwrap();
    let dump = Dumps::default().open(&files(directory.path())).unwrap();
    let rule = RuleDump::new("api", &with_bodies(8), Arc::clone(&dump));
    let capture = rule.begin(HEAD).unwrap();
    let (up, down) = (capture.tee(Side::Request).unwrap(), capture.tee(Side::Response).unwrap());
    up.push(b"1234");
    up.push(b"56789");
    capture.response_head(b"HTTP/1.1 200 OK\r\n\r\n");
    down.push(b"12345678");
    end(&capture);
    assert!(dump.flush(Duration::from_secs(10)));
    let entries: Vec<Entry> = read(directory.path()).unwrap().map(Result::unwrap).collect();
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&*entry.request_body(), entry.request_truncated), (&b"12345678"[..], true));
    assert_eq!((&*entry.response_body(), entry.response_truncated), (&b"12345678"[..], false));
    assert_eq!(dump.dropped_entries(), 0);
}

#[test]
fn a_disk_that_stands_still_drops_and_counts_and_delays_nobody() {
    let (go, told) = channel();
    let dump = Arc::new(Dump::start_with(Stalled(told), 4, MAX_BYTES).unwrap());
    let rule = RuleDump::new("api", &DumpConfig::default(), Arc::clone(&dump));
    // Nothing is let go before all have ended: one that waited would wait for ever.
    for _ in 0..1000 {
        end(&rule.begin(HEAD).unwrap());
    }
    let dropped = dump.dropped_entries();
    assert!((900..1000).contains(&dropped), "{dropped}");
    drop(go);
}

#[test]
fn what_is_held_in_memory_is_bounded_by_bytes_and_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::open(files(directory.path())).unwrap();
    let dump = Arc::new(Dump::start_with(files, 100, 1000).unwrap());
    let rule = RuleDump::new("api", &with_bodies(10_000), Arc::clone(&dump));
    let hold = |bytes: usize| {
        let capture = rule.begin(HEAD).unwrap();
        capture.body(Side::Request, &vec![b'x'; bytes]);
        capture
    };
    let (first, second) = (hold(600), hold(600));
    end(&second);
    assert_eq!(dump.dropped_entries(), 1);
    end(&first);
    assert!(dump.flush(Duration::from_secs(10)));
    end(&hold(900));
    assert!(dump.flush(Duration::from_secs(10)));
    assert_eq!(dump.dropped_entries(), 1);
    assert_eq!(read(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_full_disk_loses_entries_and_counts_each() {
    let dump = Arc::new(Dump::start_with(FullDisk, 100, MAX_BYTES).unwrap());
    let rule = RuleDump::new("api", &DumpConfig::default(), Arc::clone(&dump));
    (0..7).for_each(|_| end(&rule.begin(HEAD).unwrap()));
    assert!(dump.flush(Duration::from_secs(10)));
    assert_eq!(dump.dropped_entries(), 7);
}

#[test]
fn dice_are_exact_at_both_ends_and_fair_between() {
    let dump = Arc::new(Dump::start_with(FullDisk, 1, MAX_BYTES).unwrap());
    let taken = |sample_rate: f64| {
        let config = DumpConfig { sample_rate, ..DumpConfig::default() };
        let rule = RuleDump::new("api", &config, Arc::clone(&dump));
        (0..10_000).filter(|_| rule.begin(HEAD).is_some()).count()
    };
    assert_eq!((taken(0.0), taken(1.0)), (0, 10_000));
    let third = taken(0.3);
    // Six standard deviations are 275.
    assert!((2725..3275).contains(&third), "{third}");
}

#[test]
fn one_directory_has_one_writer_whatever_it_is_called() {
    let directory = tempfile::tempdir().unwrap();
    let dumps = Dumps::default();
    let first = dumps.open(&files(directory.path())).unwrap();
    let smaller = FilesConfig { max_files: 1, ..files(&directory.path().join(".")) };
    assert!(Arc::ptr_eq(&first, &dumps.open(&smaller).unwrap()));
    drop(first);
    dumps.sweep();
    assert!(dumps.open.lock().unwrap().is_empty());
}

#[test]
fn files_rotate_between_lines_of_a_batch() {
    let directory = tempfile::tempdir().unwrap();
    let config = FilesConfig { max_file_size: 2_000, max_files: 100, ..files(directory.path()) };
    let dump = Dumps::default().open(&config).unwrap();
    let rule = RuleDump::new(
        "api",
        &DumpConfig { redact: Redaction::default(), ..with_bodies(1) },
        Arc::clone(&dump),
    );
    (0..40).for_each(|_| end(&rule.begin(HEAD).unwrap()));
    assert!(dump.flush(Duration::from_secs(10)));
    let sizes: Vec<u64> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert!(sizes.len() > 5 && sizes.iter().all(|&size| size <= 2_000), "{sizes:?}");
    assert_eq!(read(directory.path()).unwrap().filter(Result::is_ok).count(), 40);
}
