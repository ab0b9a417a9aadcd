"""TLS: a handshake of this process with itself, and where certificates are looked for."""

from __future__ import annotations

import os
import ssl
import tempfile
from typing import Any

NAME = "pbs-matrix.test"

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBpTCCAUqgAwIBAgIBATAKBggqhkjOPQQDAjAaMRgwFgYDVQQDDA9wYnMtbWF0
cml4LnRlc3QwIBcNMDAwMTAxMDAwMDAwWhgPOTk5OTEyMzEyMzU5NTlaMBoxGDAW
BgNVBAMMD3Bicy1tYXRyaXgudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BJLbqNlN4dbdwgmzQNzuJdSW1tAtUY4Cymb2014Yx64Hk+MyPTx4pVG53N1OSAQj
GE3Wuna5qIxHoLOmubmlJcijfzB9MBoGA1UdEQQTMBGCD3Bicy1tYXRyaXgudGVz
dDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQU6BOv
WATjJZgExVtUamnnhmSnGgUwHwYDVR0jBBgwFoAU6BOvWATjJZgExVtUamnnhmSn
GgUwCgYIKoZIzj0EAwIDSQAwRgIhAPf033+XKs4o0uP2lZEZceie/C5McfIDRaiP
rcjibkirAiEAu1Ejn2BoBCQTPc5pE+Cd/9AAMSn6NsAWRbRNeaXdM/M=
-----END CERTIFICATE-----
"""
"""Self-signed, for NAME, valid from 2000 to 9999: no clock is trusted."""

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBkDKSIj8/giCR+IK
tn76e8l6z7BYUrslvmzq8Zxm4l2hRANCAASS26jZTeHW3cIJs0Dc7iXUltbQLVGO
Aspm9tNeGMeuB5PjMj08eKVRudzdTkgEIxhN1rp2uaiMR6Czprm5pSXI
-----END PRIVATE KEY-----
"""
"""The certificate's key. No secret: it was made for this file, and protects nothing."""

BUILD_MACHINE = ("/tools", "/build", "/install")
"""Directories of the machines that build the interpreters; no user has certificates there."""

ROUNDS = 20
"""Exchanges that a handshake may take; it needs three."""


def check_tls() -> dict[str, Any]:
    """A verified handshake with data both ways, and the default places of certificates."""
    paths = ssl.get_default_verify_paths()
    places = {"file": paths.openssl_cafile, "directory": paths.openssl_capath}
    for what, place in places.items():
        assert not place.startswith(BUILD_MACHINE), f"the default {what} of certificates is {place}"
    version, cipher = handshake(ssl.create_default_context(cadata=CERTIFICATE))
    # That a certificate is verified at all.
    try:
        handshake(ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        pass
    else:
        raise AssertionError("a certificate that nobody has signed was accepted")
    return {"openssl": ssl.OPENSSL_VERSION, "protocol": version, "cipher": cipher, **places}


def handshake(client_context: ssl.SSLContext) -> tuple[str, str]:
    """Protocol and cipher of a connection of this process with itself, over memory."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "server.pem")
        with open(path, "w") as stream:
            stream.write(CERTIFICATE + KEY)
        server_context.load_cert_chain(path)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=NAME)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    for _ in range(ROUNDS):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting, "the handshake does not end"
    for sender, receiver in ((client, server), (server, client)):
        sender.write(b"hello")
        received = receiver.read(100)
        assert received == b"hello", f"{received!r} arrived instead of b'hello'"
    cipher = client.cipher()
    return str(client.version()), cipher[0] if cipher else "none"
