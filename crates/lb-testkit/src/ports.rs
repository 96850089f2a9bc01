//! Ports for listeners whose address must be known before they are bound.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A port of 127.0.0.1 that no other test takes while this lives.
///
/// Taken below Linux' range for outgoing connections, so that no client's port can collide with it, and kept from other
/// test processes by a locked file.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// A free one.
    ///
    /// # Panics
    /// Where none can be found.
    pub fn free() -> Self {
        // One folder a user: another's files could not be locked.
        let user = std::fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid());
        let directory = std::env::temp_dir().join(format!("lb-testkit-ports-{user}"));
        std::fs::create_dir_all(&directory).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let mut seed = u64::from(now) ^ (u64::from(std::process::id()) << 32);
        for _ in 0..1000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = 12_000 + u16::try_from((seed >> 33) % 20_000).unwrap();
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(directory.join(number.to_string()))
                .unwrap();
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port");
    }

    /// Where to bind.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.number))
    }
}
