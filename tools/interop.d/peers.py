"""The peers of the interop matrix: how their servers and clients are called, and which cases they cannot do."""

import os
from dataclasses import dataclass, field

BUILD = os.path.abspath(".build/interop")
SOURCES = os.path.abspath("Tests/Interop")
PYTHON = os.path.abspath(".build/python/bin/python3")

# Why a client on gRPC's C core cannot do orca_per_rpc.
KEPT = "the C core keeps the report's trailer to its own balancers, out of a program's sight"

CASES = [
    "empty_unary", "large_unary", "client_compressed_unary", "server_compressed_unary", "client_streaming",
    "client_compressed_streaming", "server_streaming", "server_compressed_streaming", "ping_pong", "empty_stream",
    "custom_metadata", "status_code_and_message", "special_status_message", "unimplemented_method", "unimplemented_service",
    "cancel_after_begin", "cancel_after_first_response", "timeout_on_sleeping_server", "concurrent_large_unary", "rpc_soak",
    "channel_soak", "orca_per_rpc", "orca_oob",
]


@dataclass
class Peer:
    """Commands take the flags of the public description; `cannot` says why a case does not apply to the peer in a role."""

    server: list[str]
    client: list[str]
    certificates: str = f"{BUILD}/certificates"
    environment: dict[str, str] = field(default_factory=dict)
    # Whether it is a public test program, which takes the public flags alone and finds its certificates by itself.
    is_public: bool = False
    # (role, case) to reason.
    cannot: dict[tuple[str, str], str] = field(default_factory=dict)


def ruby():
    """Ruby's own test client and server, as Debian packages them, with the public certificates that lie beside them."""
    gem = os.popen("ruby -e 'puts Gem::Specification.find_by_name(\"grpc\").gem_dir' 2>/dev/null").read().strip()
    blind = "Ruby shows a server no message's compressed flag"
    older = "Ruby's test programs of 1.51 are older than this case"
    return Peer(
        server=["ruby", f"{SOURCES}/ruby/server.rb"], client=["ruby", f"{SOURCES}/ruby/client.rb"],
        certificates=f"{gem}/src/ruby/spec/testdata", environment={"CONCURRENT_CALLS": "100"}, is_public=True,
        cannot={
            ("server", "client_compressed_unary"): blind,
            ("server", "client_compressed_streaming"): blind,
            ("server", "orca_per_rpc"): older,
            ("client", "orca_per_rpc"): older,
            ("server", "orca_oob"): older,
            ("client", "orca_oob"): older,
        })


def python():
    blind = "grpcio shows a server no message's compressed flag"
    return Peer(
        server=[PYTHON, f"{SOURCES}/python/server.py"], client=[PYTHON, f"{SOURCES}/python/client.py"],
        environment={"INTEROP_STUBS": f"{BUILD}/python"},
        cannot={
            ("server", "client_compressed_unary"): blind,
            ("server", "client_compressed_streaming"): blind,
            ("client", "orca_per_rpc"): KEPT,
            ("client", "client_compressed_streaming"): "a grpcio client cannot leave single messages of a stream uncompressed",
        })


def cpp():
    return Peer(
        server=[f"{BUILD}/cpp/interop", "server"], client=[f"{BUILD}/cpp/interop", "client"], cannot={("client", "orca_per_rpc"): KEPT})


def go():
    mirror = "a grpc-go 1.33 server compresses what answers compressed requests, and nothing else"
    return Peer(
        server=[f"{BUILD}/go/interop", "server"], client=[f"{BUILD}/go/interop", "client"],
        cannot={
            ("server", "server_compressed_unary"): mirror,
            ("server", "server_compressed_streaming"): mirror,
            ("client", "client_compressed_streaming"): "a grpc-go client cannot leave single messages of a stream uncompressed",
        })


def ours(command):
    """Ours, which the matrix puts on the other side of every peer, and against itself."""
    return Peer(server=[command, "server"], client=[command, "client"])


PEERS = {"ruby": ruby, "python": python, "cpp": cpp, "go": go}
