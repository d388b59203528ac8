"""One transfer at a time on one reusable libcurl handle, with the address guard at its socket.

Where callbacks leave through a forward proxy, every socket leads to that, and the guard is asked about the URL alone.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import certifi
import pycurl

from commands_platform.lib.instants import format_instant
from deliveries.callback import USER_AGENT, CallbackRequest
from deliveries.masking import remove_secrets
from deliveries.queue import Claim
from outbound.address_guard import AddressGuard
from outbound.forward_proxy import ForwardProxy

RESPONSE_LIMIT = 4096

_ERROR_CLASSES = {
    pycurl.E_COULDNT_RESOLVE_HOST: "dns",
    pycurl.E_COULDNT_CONNECT: "refused",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_SSL_CACERT_BADFILE: "tls",
    pycurl.E_SSL_CERTPROBLEM: "tls",
    pycurl.E_SSL_CIPHER: "tls",
    pycurl.E_RECV_ERROR: "reset",
    pycurl.E_SEND_ERROR: "reset",
    pycurl.E_GOT_NOTHING: "reset",
    pycurl.E_PARTIAL_FILE: "reset",
    pycurl.E_URL_MALFORMAT: "invalid_url",
    pycurl.E_UNSUPPORTED_PROTOCOL: "protocol",
    8: "protocol",  # CURLE_WEIRD_SERVER_REPLY, which pycurl has no name for
}

_CAUSES = {
    "dns": "The host name could not be resolved.",
    "refused": "No connection could be made.",
    "timeout": "No answer came in time.",
    "tls": "No trusted TLS connection could be made.",
    "reset": "The connection was closed before the answer was whole.",
    "protocol": "What was answered is not HTTP.",
    "invalid_url": "The callback URL cannot be used.",
    "other": "The request failed.",
}


@dataclass(frozen=True, slots=True)
class Result:
    """How a transfer ended. Either `status` is set or `error` is, its class; `retry_after` is in seconds."""

    status: int | None
    error: str | None
    retry_after: int
    record: dict[str, object]
    is_proxys_fault: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no answer: its class, and the cause in plain words."""

    error: str
    cause: str
    is_proxys_fault: bool = False


@cache
def certificate_bundle() -> str:
    """The system's trusted certificates, or the bundled ones where the system has none."""
    system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    return system if Path(system).exists() else certifi.where()


class _Socket(socket.socket):
    """A socket that pycurl copies; this one is not needed once it has."""

    def __del__(self) -> None:
        self.close()


class Transfer:
    """A libcurl easy handle with its buffers; used again and again so that nothing is set up twice."""

    __slots__ = (
        *("_guard", "_has_opened", "_has_proxy", "_refusal", "_response", "_url"),
        *("began_at", "claim", "curl", "ends_at", "started_at"),
    )

    def __init__(self, guard: AddressGuard, proxy: ForwardProxy | None = None) -> None:
        self._guard = guard
        self._has_proxy = proxy is not None
        self._url = ""
        self._refusal: str | None = None
        self._has_opened = False
        self._response = bytearray()
        self.claim: Claim | None = None
        self.started_at: datetime | None = None
        self.began_at = self.ends_at = 0.0
        curl = self.curl = pycurl.Curl()
        curl.transfer = self
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        # A second line only. libcurl looks at its time limit before it looks at the socket: in a process that could not
        # run for a while, it would throw away answers that have long been there.
        curl.setopt(pycurl.TIMEOUT_MS, 3_600_000)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, 3_600_000)
        curl.setopt(pycurl.CAINFO, certificate_bundle())
        # Without a word on it libcurl would take one from the environment, and the guard would see its address only.
        curl.setopt(pycurl.PROXY, proxy.url if proxy else "")
        if proxy is not None:
            _set_up_tunnel(curl, proxy)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def start(self, claim: Claim, request: CallbackRequest, *, started_at: datetime, timeout: float) -> None:
        """Sets the handle up for this request; the caller adds it to its multi handle. May raise pycurl.error.

        The caller ends it at `ends_at`, of the monotonic clock.
        """
        self.claim, self.started_at = claim, started_at
        self._url, self._refusal, self._has_opened = request.url, None, False
        self.began_at = time.monotonic()
        self.ends_at = self.began_at + timeout
        self._response.clear()
        curl = self.curl
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.HTTPHEADER, request.headers)
        curl.setopt(pycurl.POSTFIELDS, request.body)

    def result(self, errno: int | None) -> Result:
        """What came of it; `errno` is libcurl's, None where the transfer ended well."""
        curl = self.curl
        status: int | None = curl.getinfo(pycurl.RESPONSE_CODE) or None
        failure: _Failure | None = None
        if errno is not None and not (errno == pycurl.E_WRITE_ERROR and status is not None):
            # Of a write error with a status we are the cause: the answer was longer than what is kept of it.
            status, failure = None, self._failure(errno)
        error = failure.error if failure else None
        record: dict[str, object] = {"number": self.claim.attempt if self.claim else 0}
        if self.started_at is not None:
            record["started_at"] = format_instant(self.started_at)
        record |= {"status": status, "error": error, "message": failure.cause if failure else _verdict(status)}
        record |= _timings(curl)
        # The peer may be the proxy: where the receiver is, it alone knows.
        record["address"] = None if self._has_proxy else curl.getinfo(pycurl.PRIMARY_IP) or None
        record["response"] = self._kept_response()
        retry_after = int(curl.getinfo(pycurl.RETRY_AFTER)) if status is not None else 0
        return Result(
            status=status,
            error=error,
            retry_after=retry_after,
            record=record,
            is_proxys_fault=failure is not None and failure.is_proxys_fault,
        )

    def _kept_response(self) -> str:
        """The beginning of the answer as text, without what the request may have told the receiver in confidence."""
        if not self._response or self.claim is None:
            return ""
        # PostgreSQL's text has no NUL.
        text = self._response.decode("utf-8", "replace").replace("\0", "\ufffd")
        command = self.claim.command
        return remove_secrets(text, secrets=(*command.signing_secrets, command.signature), headers=self.claim.headers)

    def close(self) -> None:
        self.curl.close()

    def _write(self, data: bytes) -> int | None:
        room = RESPONSE_LIMIT - len(self._response)
        self._response += data[:room]
        # A short count makes libcurl drop the connection: what is beyond the limit is never read.
        return None if len(data) <= room else 0

    def _open_socket(self, purpose: int, address: Any) -> socket.socket | int:
        family, kind, protocol, peer = address
        host = peer[0].decode() if isinstance(peer[0], bytes) else peer[0]
        refusal = self._refusal_of(host)
        if refusal is not None:
            self._refusal = refusal
            return int(pycurl.SOCKET_BAD)
        self._has_opened = True
        return _Socket(family, kind, protocol)

    def _refusal_of(self, address: str) -> str | None:
        """Why no socket to this address may be opened for the URL, as a sentence; None when one may."""
        refusal = self._guard.url_refusal(self._url)
        if refusal is None and not self._has_proxy and (reason := self._guard.refusal(address)) is not None:
            refusal = f"Callbacks may not reach this address: {reason}."
        return refusal

    def _failure(self, errno: int) -> _Failure:
        # Of a name's addresses one may be refused and another tried in vain; that one may answer next time.
        if self._refusal is not None and not self._has_opened and errno == pycurl.E_COULDNT_CONNECT:
            return _Failure("blocked_address", self._refusal)
        error = _ERROR_CLASSES.get(errno, "other")
        if self._has_proxy and error != "invalid_url" and not self._has_tunnel():
            return self._proxy_failure(errno)
        return _Failure(error, _CAUSES[error])

    def _has_tunnel(self) -> bool:
        """Whether the proxy has connected us: in this transfer, or, where no socket was opened, in an earlier one."""
        if self._has_opened:
            return 200 <= int(self.curl.getinfo(pycurl.HTTP_CONNECTCODE)) < 300
        return bool(self.curl.getinfo(pycurl.PRIMARY_IP))

    def _proxy_failure(self, errno: int) -> _Failure:
        """Why there is no tunnel. That it cannot be dug, or not in time, may be the receiver's fault as well."""
        status = int(self.curl.getinfo(pycurl.HTTP_CONNECTCODE))
        is_connected = bool(self.curl.getinfo(pycurl.NUM_CONNECTS))
        is_late = is_connected and not status and errno == pycurl.E_OPERATION_TIMEDOUT
        if status == 407:
            # Smokescreen says so of every receiver that it does not allow.
            cause = "wants other credentials, or does not let callbacks go to this receiver (status 407)"
        elif status:
            cause = f"{'could not' if status >= 500 else 'refused to'} connect to the receiver (status {status})"
        elif is_late:
            cause = "did not connect to the receiver in time"
        elif errno == pycurl.E_COULDNT_RESOLVE_PROXY:
            cause = "has a name that could not be resolved"
        elif not is_connected:
            cause = "could not be reached"
        elif _ERROR_CLASSES.get(errno) == "tls":
            cause = "made no TLS connection that can be trusted"
        else:
            cause = "did not answer as a proxy does"
        return _Failure("proxy", f"The proxy for callbacks {cause}.", is_proxys_fault=status < 500 and not is_late)


def _set_up_tunnel(curl: Any, proxy: ForwardProxy) -> None:
    """CONNECT for http too: what the proxy itself answers can then never be taken for the receiver's answer."""
    curl.setopt(pycurl.HTTPPROXYTUNNEL, 1)
    # Without a word on it libcurl would go around the proxy for the hosts of the environment's no_proxy.
    curl.setopt(pycurl.NOPROXY, "")
    curl.setopt(pycurl.PROXY_CAINFO, certificate_bundle())
    # Of the request for a tunnel; that of the callback has its own.
    curl.setopt(pycurl.USERAGENT, USER_AGENT)
    if proxy.username is not None:
        curl.setopt(pycurl.PROXYUSERNAME, proxy.username)
        curl.setopt(pycurl.PROXYPASSWORD, proxy.password)


def _verdict(status: int | None) -> str:
    if status is not None and 300 <= status < 400:
        return "The receiver redirects; redirects are not followed."
    if status is not None and 200 <= status < 300:
        return ""
    return f"The receiver answered with status {status}."


def _timings(curl: Any) -> dict[str, object]:
    looked_up = curl.getinfo(pycurl.NAMELOOKUP_TIME_T)
    connected = curl.getinfo(pycurl.CONNECT_TIME_T)
    secured = curl.getinfo(pycurl.APPCONNECT_TIME_T)
    ready = curl.getinfo(pycurl.PRETRANSFER_TIME_T)
    first_byte = curl.getinfo(pycurl.STARTTRANSFER_TIME_T)
    return {
        "dns_ms": looked_up / 1000,
        "connect_ms": max(connected - looked_up, 0) / 1000,
        "tls_ms": max(secured - connected, 0) / 1000,
        "first_byte_ms": max(first_byte - ready, 0) / 1000,
        "total_ms": curl.getinfo(pycurl.TOTAL_TIME_T) / 1000,
    }
