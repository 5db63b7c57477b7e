#!/usr/bin/env python3
"""An issuer of tokens, and a forger, with PyJWT and stock grpcio.

identity.py issuer --folder DIR [--keys NAME...]     makes private keys NAME.pem that are not there, and jwks.json of just these
identity.py token --folder DIR --now T [--claims J]  prints a token of key 'one'
identity.py attack --folder DIR --now T --server H:P --stubs DIR   tries every forgery; prints what went through
identity.py certificate --server H:P --stubs DIR --authority F --certificate F --key F   prints whom the certificate stands for

T is the server's time in seconds; it is taken as the time at the start of the command.
"""
import argparse
import base64
import hashlib
import hmac
import json
import pathlib
import sys

import grpc
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.rpc import error_details_pb2, status_pb2

ISSUER, AUDIENCE = "https://issuer.test", "spanwire"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("command", choices=["issuer", "token", "attack", "certificate"])
parser.add_argument("--folder", type=pathlib.Path)
parser.add_argument("--keys", nargs="+", default=["one", "two"])
parser.add_argument("--now", type=int)
parser.add_argument("--claims", type=json.loads, default={})
parser.add_argument("--server")
parser.add_argument("--stubs")
parser.add_argument("--authority")
parser.add_argument("--certificate")
parser.add_argument("--key")
options = parser.parse_args()
if options.stubs:
    sys.path.insert(0, options.stubs)


def private_key(name):
    """The key of that name, made when it isn't there: RSA, and elliptic for 'two'."""
    path = options.folder / f"{name}.pem"
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1()) if name == "two" else rsa.generate_private_key(65537, 2048)
        path.write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return serialization.load_pem_private_key(path.read_bytes(), None)


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def algorithm(key):
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"


def write_issuer():
    keys = []
    for name in options.keys:
        key = private_key(name)
        kind = jwt.algorithms.RSAAlgorithm if algorithm(key) == "RS256" else jwt.algorithms.ECAlgorithm
        keys.append(json.loads(kind.to_jwk(key.public_key())) | {"kid": name, "use": "sig"})
    # As a secret mounted into a container changes: at once.
    fresh = options.folder / "jwks.new"
    fresh.write_text(json.dumps({"keys": keys}))
    fresh.rename(options.folder / "jwks.json")


def claims(**changes):
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "tenant_id": "vienna", "roles": ["traveller"], "iat": options.now,
            "nbf": options.now, "exp": options.now + 3600, "jti": "JTI-1"} | changes
    return {name: value for name, value in made.items() if value is not None}


def sign(body, name="one", kid=None, **headers):
    key = private_key(name)
    return jwt.encode(body, key, algorithm=algorithm(key), headers={"kid": kid or name} | headers)


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, body, signer):
    """A token that PyJWT would rather not make."""
    signed = url64(json.dumps(header).encode()) + "." + url64(json.dumps(body).encode())
    return signed + "." + url64(signer(signed.encode()))


def mac(secret, hash=hashlib.sha256):
    return lambda data: hmac.new(secret, data, hash).digest()


def reason(error):
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason
    return ""


def forgeries():
    """What is sent as authorization, and the reason for which it must be refused; none for what is honest."""
    one, two = private_key("one"), private_key("two")
    stranger = rsa.generate_private_key(65537, 2048)
    good = sign(claims())
    head, body, signature = good.split(".")
    elevated = url64(json.dumps(claims(kind="ops", roles=["platform_admin"], tenant_id="platform")).encode())
    yield "honest, RSA", good, None
    yield "honest, elliptic", sign(claims(), "two"), None
    yield "honest, of many audiences", sign(claims(aud=["others", AUDIENCE])), None
    yield "a stranger's key under a known name", jwt.encode(claims(), stranger, algorithm="RS256", headers={"kid": "one"}), "TOKEN_FORGED"
    yield "another key of the issuer's name", sign(claims(), "two", kid="one"), "TOKEN_ALGORITHM_REFUSED"
    yield "claims changed", f"{head}.{elevated}.{signature}", "TOKEN_FORGED"
    yield "signature cut", f"{head}.{body}.{signature[:-2]}", "TOKEN_FORGED"
    yield "signature gone", f"{head}.{body}.", "TOKEN_FORGED"
    for none in ("none", "None", "NONE", "nOnE"):
        yield f"alg {none}", by_hand({"alg": none, "kid": "one"}, claims(), lambda _: b""), "TOKEN_ALGORITHM_REFUSED"
    yield "alg none, by PyJWT", jwt.encode(claims(), None, algorithm="none", headers={"kid": "one"}), "TOKEN_ALGORITHM_REFUSED"
    for key, kid in ((one, "one"), (two, "two")):
        for secret in (public_pem(key), public_pem(key).strip(), b"", key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)):
            for name, hash in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
                yield f"the public key {kid} as a secret of {name}", by_hand({"alg": name, "kid": kid}, claims(), mac(secret, hash)), \
                    "TOKEN_ALGORITHM_REFUSED"
    yield "a secret under no name", by_hand({"alg": "HS256"}, claims(), mac(public_pem(one))), "TOKEN_KEY_UNKNOWN"
    yield "RS512 for a key of RS256", jwt.encode(claims(), one, algorithm="RS512", headers={"kid": "one"}), "TOKEN_ALGORITHM_REFUSED"
    yield "PS256 for a key of RS256", jwt.encode(claims(), one, algorithm="PS256", headers={"kid": "one"}), "TOKEN_ALGORITHM_REFUSED"
    yield "unknown kid", sign(claims(), kid="three"), "TOKEN_KEY_UNKNOWN"
    yield "kid that is a path", sign(claims(), kid="../../dev/null"), "TOKEN_KEY_UNKNOWN"
    yield "its own key in the header", jwt.encode(
        claims(), stranger, algorithm="RS256",
        headers={"jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key()))}), "TOKEN_KEY_UNKNOWN"
    yield "expired", sign(claims(exp=options.now - 3600, iat=options.now - 7200, nbf=options.now - 7200)), "TOKEN_EXPIRED"
    yield "without an end", sign(claims(exp=None)), "TOKEN_MALFORMED"
    yield "for a year", sign(claims(exp=options.now + 366 * 86400)), "TOKEN_MALFORMED"
    yield "not yet valid", sign(claims(nbf=options.now + 3000)), "TOKEN_NOT_YET_VALID"
    yield "another audience", sign(claims(aud="others")), "TOKEN_WRONG_AUDIENCE"
    yield "no audience", sign(claims(aud=None)), "TOKEN_WRONG_AUDIENCE"
    yield "another issuer", sign(claims(iss="https://evil.test")), "TOKEN_WRONG_ISSUER"
    yield "no tenant", sign(claims(tenant_id=None)), "TOKEN_WITHOUT_TENANT"
    yield "a tenant that is not there", sign(claims(tenant_id="atlantis")), "TENANT_NOT_FOUND"
    yield "the platform's role in another tenant", sign(claims(kind="ops", roles=["platform_admin"])), "CREDENTIAL_REFUSED"
    yield "a service of the platform", sign(claims(kind="service", sub="tjm")), "TOKEN_MALFORMED"
    yield "too long", sign(claims(note="x" * 4096)), "TOKEN_TOO_LONG"
    yield "a development token", "dev:ops:OPS-0001:vienna:ops_lead", "UNAUTHENTICATED"
    yield "a key that was never given out", "swk_" + "A" * 43, "CREDENTIAL_REFUSED"
    yield "nothing of the kind", "hello", "TOKEN_MALFORMED"


def attack():
    from spanwire.identity.v1 import identity_pb2, identity_pb2_grpc

    problems, tried = [], 0
    with grpc.insecure_channel(options.server) as channel:
        stub = identity_pb2_grpc.IdentityStub(channel)

        def ask(*metadata):
            return stub.WhoAmI(identity_pb2.WhoAmIRequest(), metadata=metadata, timeout=30)

        for name, token, expected in forgeries():
            tried += 1
            try:
                caller = ask(("authorization", f"Bearer {token}"))
                if expected:
                    problems.append(f"{name}: went through as {caller}")
                elif (caller.principal_id, caller.tenant_id, list(caller.roles)) != ("anna", "vienna", ["traveller"]):
                    problems.append(f"{name}: is taken for {caller}")
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAUTHENTICATED or reason(error) != expected:
                    problems.append(f"{name}: {error.code().name} {reason(error)} instead of {expected}: {error.details()}")
        # Nobody from outside says who they are, or for whom they call.
        other = identity_pb2.CallingPrincipal(kind=5, principal_id="otto", tenant_id="graz", roles=["ops_lead"]).SerializeToString()
        good = ("authorization", f"Bearer {sign(claims())}")
        for said in ([("spanwire-principal-bin", other)], [good, ("spanwire-principal-bin", other)],
                     [good, ("spanwire-principal-bin", b"")]):
            tried += 1
            try:
                problems.append(f"a forwarded principal went through as {ask(*said)}")
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAUTHENTICATED or reason(error) != "FORWARDING_REFUSED":
                    problems.append(f"a forwarded principal: {error.code().name} {error.details()}")
        caller = ask(good, ("spanwire-principal", "ops:otto"), ("spanwire-tenant", "graz"), ("x-spanwire-roles", "platform_admin"))
        if caller.tenant_id != "vienna" or caller.on_behalf_of.principal_id:
            problems.append(f"metadata made anna {caller}")
    for problem in problems:
        print(problem)
    print(f"{tried} tried, {len(problems)} problems")
    sys.exit(1 if problems else 0)


def show_certificate():
    from spanwire.identity.v1 import identity_pb2, identity_pb2_grpc

    read = lambda path: pathlib.Path(path).read_bytes()
    credentials = grpc.ssl_channel_credentials(read(options.authority), read(options.key), read(options.certificate))
    with grpc.secure_channel(options.server, credentials) as channel:
        try:
            caller = identity_pb2_grpc.IdentityStub(channel).WhoAmI(identity_pb2.WhoAmIRequest(), timeout=30)
            print(f"{caller.principal_id} of {caller.tenant_id} as {','.join(caller.roles)}")
        except grpc.RpcError as error:
            print(f"{error.code().name} {reason(error)}")


if options.command == "issuer":
    write_issuer()
elif options.command == "token":
    print(sign(claims(**options.claims)))
elif options.command == "attack":
    attack()
else:
    show_certificate()
