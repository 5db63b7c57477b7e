"""HTTP/2 as bytes, as much of it as loads need: no library, so that a client costs nothing but its socket."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def window(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def literal(name, value):
    """A field that leaves the table of the decoder alone."""
    return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(stream, path, message, host=b"localhost"):
    """A call with one request, whole."""
    block = b"\x83\x86" + literal(b":path", path) + literal(b":authority", host)
    block += literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers")
    body = b"\0" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body)


class Connection:
    """A connection in the clear, blocking."""

    def __init__(self, port, initial_window=65_535):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, initial_window)))

    def send(self, data):
        self.socket.sendall(data)

    def next(self):
        """The next frame: kind, flags, stream, payload."""
        while len(self.received) < 9 or len(self.received) < 9 + int.from_bytes(self.received[:3], "big"):
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self.received += data
        length = int.from_bytes(self.received[:3], "big")
        kind, flags = self.received[3], self.received[4]
        stream = int.from_bytes(self.received[5:9], "big") & 0x7FFF_FFFF
        payload, self.received = self.received[9 : 9 + length], self.received[9 + length :]
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        return kind, flags, stream, payload

    def settle(self):
        """Waits until both sides have said their settings and heard of it."""
        wanted = {(SETTINGS, 0), (SETTINGS, ACK)}
        while wanted:
            kind, flags, _, _ = self.next()
            wanted.discard((kind, flags & ACK) if kind == SETTINGS else None)

    def finish(self, stream):
        """Reads until a stream has ended."""
        while True:
            kind, flags, of, _ = self.next()
            if of == stream and (kind == RST_STREAM or kind in (HEADERS, DATA) and flags & END_STREAM):
                return kind
            if kind == GOAWAY:
                raise ConnectionError("the server told us to go")

    def close(self):
        self.socket.close()
