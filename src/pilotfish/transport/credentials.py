"""A certificate authority of each manager's own: whoever shows a certificate signed by it belongs together.

There are no names to check: the authority signs for one manager and its agents, and nobody else ever sees its key.

What belongs here: making keys and certificates, the folder where they stay. What must not: connections.
"""

import datetime as dt
import os
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except (FileNotFoundError, msgspec.DecodeError):
        made = _make()
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(made))
    draft.replace(path)
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

    def signed(role: str) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(_name(role), key).issuer_name(name).sign(root, hashes.SHA256())
        return _pem(certificate), _secret(key)

    # The key of the authority is forgotten: it has signed all that it ever will.
    return Credentials(_pem(authority), *signed("manager"), *signed("agent"))


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
