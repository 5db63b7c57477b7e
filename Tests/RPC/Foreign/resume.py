"""Connects twice over TLS, the second time with the session of the first: resume.py PORT CA VERSION prints whether it was taken."""
import socket
import ssl
import sys

port, authority, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=authority)
context.set_alpn_protocols(["h2"])
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)


def connect(session):
    with socket.create_connection(("127.0.0.1", port)) as raw:
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as secure:
            secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            secure.recv(9)  # the server's settings; the ticket of TLS 1.3 comes before them
            return secure.session, secure.session_reused


session, first = connect(None)
_, second = connect(session)
print("resumed" if second and not first else "not resumed")
