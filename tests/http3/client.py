"""A client of HTTP/3 for tests: aioquic, with everything that came kept by stream."""
import asyncio, socket, ssl, sys
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamDataReceived, StreamReset

HOST, PORT = sys.argv[1], int(sys.argv[2])
PATIENCE = 20


class Stream:
    def __init__(self):
        self.heads, self.body, self.pieces, self.ended, self.reset, self.stopped = [], b"", 0, False, None, None

    def fields(self, index=-1):
        return {name.decode(): value.decode() for name, value in self.heads[index]}

    @property
    def status(self):
        finals = [h for h in self.heads if dict(h).get(b":status", b"1")[0:1] != b"1"]
        return int(dict(finals[0])[b":status"]) if finals else None

    @property
    def trailers(self):
        return self.fields() if b":status" not in dict(self.heads[-1]) else None

    @property
    def over(self):
        return self.ended or self.reset is not None


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.h3, self.streams, self.terminated, self.control = None, {}, None, {}
        self.changed = asyncio.Event()

    def quic_event_received(self, event):
        if self.h3 is None:
            self.h3 = H3Connection(self._quic)
        if isinstance(event, ConnectionTerminated):
            self.terminated = event
        elif isinstance(event, StreamReset):
            self.stream(event.stream_id).reset = event.error_code
        elif isinstance(event, StopSendingReceived):
            self.stream(event.stream_id).stopped = event.error_code
        elif isinstance(event, StreamDataReceived) and event.stream_id % 4 == 3:
            self.control[event.stream_id] = self.control.get(event.stream_id, b"") + event.data
        for event in self.h3.handle_event(event):
            stream = self.stream(event.stream_id)
            if isinstance(event, HeadersReceived):
                stream.heads.append(event.headers)
                stream.ended |= event.stream_ended
            elif isinstance(event, DataReceived):
                stream.body += event.data
                stream.pieces += 1
                stream.ended |= event.stream_ended
        self.changed.set()

    def stream(self, stream_id):
        return self.streams.setdefault(stream_id, Stream())

    def goaways(self):
        """How many GOAWAY frames have come (kind 7, one byte of length)."""
        count = 0
        for data in self.control.values():
            if data[:1] != b"\x00":
                continue
            at = 1
            while at + 1 < len(data):
                kind, length = data[at], data[at + 1]
                if kind >= 0x40 or length >= 0x40:
                    break
                count += kind == 7
                at += 2 + length
        return count

    def open(self, method, path, fields=(), body=b"", end=True, authority="a.example"):
        stream_id = self._quic.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        self.head(stream_id, pseudo + list(fields), end and not body)
        if body:
            self.h3.send_data(stream_id, body, end)
        self.transmit()
        return stream_id

    def extended(self, path, protocol="websocket", fields=()):
        """An extended CONNECT (RFC 9220), whose stream stays open."""
        stream_id = self._quic.get_next_available_stream_id()
        pseudo = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"), (":authority", "a.example"), (":path", path)]
        self.head(stream_id, pseudo + [("sec-websocket-version", "13")] + list(fields), False)
        self.transmit()
        return stream_id

    def head(self, stream_id, fields, end):
        encoded = [(n.encode() if isinstance(n, str) else n, v.encode() if isinstance(v, str) else v) for n, v in fields]
        self.h3.send_headers(stream_id, encoded, end)

    def send(self, stream_id, data, end=False):
        self.h3.send_data(stream_id, data, end)
        self.transmit()

    async def until(self, what, holds):
        async def wait():
            while not holds():
                self.changed.clear()
                await self.changed.wait()

        try:
            await asyncio.wait_for(wait(), PATIENCE)
        except asyncio.TimeoutError:
            raise AssertionError("not in time: " + what)

    async def answer(self, stream_id):
        stream = self.stream(stream_id)
        await self.until("an answer", lambda: stream.over or self.terminated)
        return stream

    async def get(self, path, **named):
        return await self.answer(self.open("GET", path, **named))


def connected(name="localhost", ca=None, certificate=None, **named):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name=name, **named)
    if ca:
        configuration.load_verify_locations(ca)
    else:
        configuration.verify_mode = ssl.CERT_NONE
    if certificate:
        configuration.load_cert_chain(*certificate)
    return connect(HOST, PORT, configuration=configuration, create_protocol=Client)


def run(main):
    asyncio.run(asyncio.wait_for(main(), 60))
