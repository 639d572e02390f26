"""A certificate authority of each manager's own: whoever shows a certificate signed by it belongs together.

There are no names to check: the authority signs for one manager and its agents, and nobody else ever sees its key.
Each certificate says for which side it is: what an agent has does not make it a manager to the others.

What belongs here: making keys and certificates, the folder where they stay. What must not: connections.
"""

import contextlib
import datetime as dt
import os
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from pilotfish.runtime import write_private

__all__ = ["Credentials", "credentials_in"]

_VALID = dt.timedelta(days=3650)
_BEFORE = dt.timedelta(days=2)
"""How far a node's clock may be behind ours: certificates are not to fail for that."""


class Credentials(msgspec.Struct, frozen=True):
    """Of one manager, all in PEM."""

    authority: str
    manager_certificate: str
    manager_secret: str
    agent_certificate: str
    agent_secret: str


def credentials_in(path: Path) -> Credentials:
    """Those that the file holds, so that a later manager is known to the agents of an earlier one; else new ones."""
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError), path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid == os.getuid():  # else somebody knows them who could place a file here
            return msgspec.json.decode(file.read(), type=Credentials)
    made = _make()
    write_private(path, msgspec.json.encode(made))
    return made


def _make() -> Credentials:
    root = ec.generate_private_key(ec.SECP256R1())
    name = _name("pilotfish")
    authority = (
        _certificate(name, root)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root, hashes.SHA256())
    )

    def signed(role: str, side: ObjectIdentifier) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(_name(role), key).issuer_name(name)
        certificate = certificate.add_extension(x509.ExtendedKeyUsage([side]), critical=True)
        return _pem(certificate.sign(root, hashes.SHA256())), _secret(key)

    manager = signed("manager", ExtendedKeyUsageOID.SERVER_AUTH)
    # The key of the authority is forgotten: it has signed all that it ever will.
    return Credentials(_pem(authority), *manager, *signed("agent", ExtendedKeyUsageOID.CLIENT_AUTH))


def _certificate(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _BEFORE,
        not_valid_after=now + _VALID,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _secret(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
