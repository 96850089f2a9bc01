//! What a client says in a WebSocket, whatever carries it.

/// Python that needs `wsproto`, to be put ahead of a script that moves the bytes.
///
/// `Dialogue(many)` says `many` short messages, in batches, then all kinds of messages, and closes. Its `steps()` yield bytes that are to
/// be sent, or `None` where more must be read first; what was read is given to `take`. After the last one `closed` is what the server
/// closed with. The server sends every message back, and closes when it is told to.
pub const WEBSOCKET_DIALOGUE: &str = "
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
class Dialogue:
    def __init__(self, many):
        self.many, self.ws, self.got, self.closed = many, Connection(ConnectionType.CLIENT), [], None
    def take(self, data):
        self.ws.receive_data(data)
        for event in self.ws.events():
            if not isinstance(event, (TextMessage, BytesMessage)):
                self.got.append([event, True])
            elif not self.got or self.got[-1][1]:
                self.got.append([event.data, event.message_finished])
            else:
                self.got[-1] = [self.got[-1][0] + event.data, event.message_finished]
    def one(self):
        while not self.got or not self.got[0][1]:
            yield None
        return self.got.pop(0)[0]
    def echoed(self, event, expected):
        yield self.ws.send(event)
        got = yield from self.one()
        assert got == expected, (got, expected)
    def steps(self):
        for first in range(0, self.many, 100):
            texts = ['number %d' % number for number in range(first, min(first + 100, self.many))]
            for text in texts:
                yield self.ws.send(TextMessage(data=text))
            for text in texts:
                got = yield from self.one()
                assert got == text, (got, text)
        for message in ['hello', '', 'x' * 1_000_000]:
            yield from self.echoed(TextMessage(data=message), message)
        for message in [b'\\x00\\xff', b'y' * 3_000_000]:
            yield from self.echoed(BytesMessage(data=message), message)
        yield self.ws.send(TextMessage(data='in ', message_finished=False))
        yield from self.echoed(TextMessage(data='fragments'), 'in fragments')
        yield from self.echoed(Ping(payload=b'p'), Pong(payload=b'p'))
        yield self.ws.send(TextMessage(data='close'))
        closed = yield from self.one()
        assert isinstance(closed, CloseConnection), closed
        yield self.ws.send(closed.response())
        self.closed = '%d %s' % (closed.code, closed.reason)
";
