"""An attempt without an answer has a documented error, and a TLS failure says what is wrong."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pycurl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deliveries.causes import cause_of, error_of
from deliveries.models import AttemptError, State
from tests.deliveries.senders import make_sender
from tests.factories import make_delivery
from tests.production_files import ROOT
from tests.raw_receiver import RawReceiver


def answer(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def write_certificate(path: Path, *, name: x509.GeneralName, valid_for: timedelta) -> Path:
    """Writes a key and its certificate, signed by itself and valid from ten days ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins = datetime.now(UTC) - timedelta(days=10)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    certificate = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + valid_for)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a certificate the only one that is trusted."""
    return lambda path: monkeypatch.setattr("deliveries.transfer.certificate_bundle", lambda: str(path))


LOOPBACK_NAME = x509.IPAddress(ip_address("127.0.0.1"))
OTHER_NAME = x509.DNSName("another.example")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "days", "is_trusted", "reason"),
    [
        (LOOPBACK_NAME, 30, False, "self-signed certificate"),
        (LOOPBACK_NAME, 5, True, "certificate has expired"),
        (OTHER_NAME, 30, True, "127.0.0.1"),
    ],
    ids=["self-signed", "expired", "for another host"],
)
def test_a_tls_failure_says_what_is_wrong_with_the_certificate(
    tmp_path: Path, trust: Callable[[Path], None], *, name: x509.GeneralName, days: int, is_trusted: bool, reason: str
) -> None:
    certificate = write_certificate(tmp_path / "used.pem", name=name, valid_for=timedelta(days=days))
    unused = write_certificate(tmp_path / "unused.pem", name=OTHER_NAME, valid_for=timedelta(days=30))
    trust(certificate if is_trusted else unused)
    with RawReceiver(answer, certificate=certificate) as receiver:
        delivery = make_delivery(url=f"{receiver.url}?key=hush-hush", headers='{"Authorization":"Bearer hush-hush"}')
        make_sender().drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert (delivery.state, attempt.error) == (State.PENDING, AttemptError.TLS)
    assert attempt.message.startswith("No trusted TLS connection could be made: ")
    assert reason in attempt.message
    assert "hush" not in attempt.message


@pytest.mark.parametrize(
    ("errno", "error"),
    [
        (pycurl.E_COULDNT_RESOLVE_HOST, AttemptError.DNS),
        (pycurl.E_COULDNT_CONNECT, AttemptError.REFUSED),
        (pycurl.E_OPERATION_TIMEDOUT, AttemptError.TIMEOUT),
        (pycurl.E_PEER_FAILED_VERIFICATION, AttemptError.TLS),
        (pycurl.E_GOT_NOTHING, AttemptError.RESET),
        (8, AttemptError.PROTOCOL),
        (pycurl.E_BAD_CONTENT_ENCODING, AttemptError.PROTOCOL),
        (100, AttemptError.HEADERS_TOO_LARGE),
        (pycurl.E_OUT_OF_MEMORY, AttemptError.OTHER),
    ],
)
def test_error_numbers_of_libcurl_become_documented_errors(errno: int, error: AttemptError) -> None:
    assert error_of(errno) == error
    assert cause_of(error, "") == error.label


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "headers",
    [
        b"X-Large: " + b"a" * 300_000 + b"\r\n",
        b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(310)),
        b"".join(b"X-%d: a\r\n" % number for number in range(5_100)),
    ],
    ids=["one of 300 kB", "300 kB in all", "more than 5,000"],
)
def test_too_large_headers_of_an_answer_have_an_error_of_their_own(headers: bytes) -> None:
    with RawReceiver(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n")) as receiver:
        delivery = make_delivery(url=receiver.url)
        make_sender().drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert (attempt.error, attempt.message) == (
        AttemptError.HEADERS_TOO_LARGE, "The answer's status line and headers are too large.",
    )  # fmt: skip
    assert delivery.state == State.PENDING


def test_only_tls_failures_give_the_reason_of_libcurl_and_shorten_it() -> None:
    assert cause_of(AttemptError.DNS, "Could not resolve host: x") == AttemptError.DNS.label
    assert len(cause_of(AttemptError.TLS, "x" * 10_000)) < 300
    assert "\n" not in cause_of(AttemptError.TLS, "two\nlines")


def test_the_reference_lists_every_error_of_an_attempt() -> None:
    reference = (ROOT / "docs" / "api.md").read_text()

    listed = re.search(
        r"An attempt without an answer has an `error`:\n.*?\|---\|---\|\n(.*?)\n\n[^|]", reference, re.DOTALL
    )

    assert listed is not None
    assert re.findall(r"^\| `(\w+)` \| [^|]+ \|", listed[1], re.MULTILINE) == AttemptError.values
