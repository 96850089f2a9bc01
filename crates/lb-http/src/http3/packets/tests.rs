//! Sockets through upgrades, and those that fail.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use quinn::ConnectionIdGenerator;
use rustix::io::Errno;

use super::*;

/// What a reader gives within a moment, each by its last byte.
async fn read(reader: &Reader) -> Vec<u8> {
    let mut room = [[0_u8; 2048]; 4];
    let mut buffers = room.each_mut().map(|it| IoSliceMut::new(it));
    let mut meta = [RecvMeta::default(); 4];
    let received = std::future::poll_fn(|cx| reader.poll_recv(cx, &mut buffers, &mut meta));
    let received = tokio::time::timeout(Duration::from_millis(200), received).await;
    let count = received.map_or(0, Result::unwrap);
    meta[..count].iter().zip(&buffers).map(|(meta, buffer)| buffer[meta.len - 1]).collect()
}

#[tokio::test]
async fn each_of_three_processes_gets_its_own_packets_and_the_last_one_what_is_new() {
    let first = Packets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = first.socket().await.unwrap().local_addr().unwrap();
    let mut processes = vec![first];
    for number in 0..2 {
        let next = processes[number].hand_over("web", address).unwrap().unwrap();
        processes.push(Packets::inherited(next).unwrap());
    }
    let mut readers = Vec::new();
    for packets in &processes {
        readers.push(Arc::clone(packets).open().await.unwrap());
    }
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |process: usize, last: u8| {
        let id = processes[process].identifiers().generate_cid();
        client.send_to(&[&[0x40], &id[..], &[last]].concat(), address).unwrap();
    };
    send(0, 1);
    assert!(read(&readers[2]).await.is_empty(), "it is not its turn yet");
    assert_eq!(read(&readers[0]).await, [1]);
    // The second one is to leave what it does not have yet.
    readers[1].leave();
    assert!(read(&readers[2]).await.is_empty());
    readers[0].leave();
    for (process, last) in [(0, 2), (1, 3), (2, 4)] {
        send(process, last);
    }
    client.send_to(&[0xc0, 0, 0, 0, 1, 8, 9, 9, 9, 9, 9, 9, 9, 9, 5], address).unwrap();
    let (first, second, third) = tokio::join!(read(&readers[0]), read(&readers[1]), async {
        [read(&readers[2]).await, read(&readers[2]).await].concat()
    });
    assert_eq!((&first[..], &second[..], &third[..]), (&[2][..], &[3][..], &[4, 5][..]));
    drop(readers.remove(0));
    send(0, 6);
    let (second, third) = tokio::join!(read(&readers[0]), read(&readers[1]));
    assert_eq!((&second[..], &third[..]), (&[6][..], &[][..]), "whose process has ended is told by the next");
}

#[test]
fn what_is_known_of_a_packet_goes_with_it() {
    for (from, to, ecn) in [
        ("127.0.0.1:4433", Some("10.0.0.1"), 1),
        ("[::ffff:127.0.0.1]:1", Some("::1"), 2),
        ("[fe80::1%3]:65535", None, 0),
    ] {
        let (addr, dst_ip) = (from.parse().unwrap(), to.map(|ip| ip.parse().unwrap()));
        let meta = RecvMeta { addr, dst_ip, ecn: EcnCodepoint::from_bits(ecn), ..RecvMeta::default() };
        let mut lead = Vec::new();
        write_lead(&mut lead, &meta);
        assert_eq!(lead.len(), LEAD);
        let read = read_lead(&lead).unwrap();
        assert_eq!((read.addr, read.dst_ip, read.ecn), (meta.addr, meta.dst_ip, meta.ecn));
    }
    assert!(read_lead(&[0; LEAD - 1]).is_none());
}

/// A socket of which every other call fails, in ways that a system has.
#[derive(Debug)]
struct Faulty {
    socket: Arc<dyn AsyncUdpSocket>,
    calls: AtomicUsize,
}

impl Faulty {
    fn fail(&self) -> io::Result<()> {
        const ERRORS: [Errno; 6] =
            [Errno::NOBUFS, Errno::MSGSIZE, Errno::NETUNREACH, Errno::PERM, Errno::NOMEM, Errno::CONNREFUSED];
        let call = self.calls.fetch_add(1, Relaxed);
        if call.is_multiple_of(2) { Err(ERRORS[call / 2 % ERRORS.len()].into()) } else { Ok(()) }
    }
}

impl AsyncUdpSocket for Faulty {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.fail()?;
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.fail()?;
        self.socket.poll_recv(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[tokio::test]
async fn a_socket_that_fails_at_times_is_read_and_written_on() {
    let packets = Packets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let socket = packets.socket().await.unwrap();
    let address = socket.local_addr().unwrap();
    let socket = TokioRuntime.wrap_udp_socket(socket).unwrap();
    let state = State { stage: Stage::Reading, before: None, after: None, reader: None, room: Vec::new() };
    let socket = Arc::new(Faulty { socket, calls: AtomicUsize::new(0) });
    let reader = Arc::new(Reader { packets, socket, state: Mutex::new(state) });
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for number in 0..20 {
        client.send_to(&[0x40, number], address).unwrap();
        assert_eq!(read(&reader).await, [number]);
        let destination = client.local_addr().unwrap();
        let transmit =
            Transmit { destination, ecn: None, contents: &[number], segment_size: None, src_ip: None };
        // Of two packets one is lost.
        reader.try_send(&transmit).unwrap();
        reader.try_send(&transmit).unwrap();
        let mut room = [0; 8];
        assert_eq!((client.recv(&mut room).unwrap(), room[0]), (1, number));
    }
}

/// One of which every call fails.
#[derive(Debug)]
struct Broken(Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Broken {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        Err(Errno::PERM.into())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(Errno::NOMEM.into()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[tokio::test]
async fn one_that_fails_always_holds_nobody_up() {
    let packets = Packets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let socket = TokioRuntime.wrap_udp_socket(packets.socket().await.unwrap()).unwrap();
    let state = State { stage: Stage::Reading, before: None, after: None, reader: None, room: Vec::new() };
    let reader = Reader { packets, socket: Arc::new(Broken(socket)), state: Mutex::new(state) };
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        polls += 1;
        let polled = reader.poll_recv(cx, &mut [IoSliceMut::new(&mut [0; 8])], &mut [RecvMeta::default()]);
        assert!(polled.is_pending());
        if polls < 5 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}
