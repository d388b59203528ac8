"""Makes one transfer at a time on a reusable libcurl handle. The address guard checks each socket before it opens.

libcurl is told the receiver's addresses, so it looks up no names. With a forward proxy, every socket leads to the
proxy, so the guard checks only the URL.
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

from commands_platform.lib.errors import PlatformError
from deliveries.attempts import Attempt, Timings
from deliveries.callback import USER_AGENT, CallbackRequest
from deliveries.causes import Failure, cause_of, error_of, name_failure, proxy_failure
from deliveries.masking import remove_secrets
from deliveries.models import AttemptError
from deliveries.queue import Claim
from outbound.address_guard import AddressGuard
from outbound.forward_proxy import ForwardProxy

RESPONSE_LIMIT = 4096

# An answer counts as soon as its status and headers have arrived. After this time without its whole body, we hang up.
BODY_SECONDS = 1.0

# A connection that was idle or open for this long is not reused, so that callbacks follow a name to its new address.
_MAX_IDLE_SECONDS = 60
_MAX_CONNECTION_SECONDS = 120
# libcurl keeps the addresses that it is told for this long. It must be longer than any transfer, because libcurl needs
# them again if a reused connection breaks.
_ADDRESSES_KEPT_SECONDS = 3600

_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS, which pycurl has no name for
_END_OF_HEADERS = (b"\n\r\n", b"\n\n")


@dataclass(frozen=True, slots=True)
class Result:
    """How a transfer ended. Either `status` or `error` is set. `retry_after` is in seconds."""

    status: int | None
    error: AttemptError | None
    retry_after: int
    attempt: Attempt
    may_have_been_sent: bool
    is_proxys_fault: bool = False


@cache
def certificate_bundle() -> str:
    """Returns the path of the system's trusted certificates, or of the bundled ones where the system has none."""
    system = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    return system if Path(system).exists() else certifi.where()


class _Socket(socket.socket):
    """A socket that closes itself as soon as pycurl has copied it."""

    def __del__(self) -> None:
        self.close()


class Transfer:
    """A libcurl easy handle with its buffers. It is used again and again, so that nothing is set up twice."""

    __slots__ = (
        *("_answered_at", "_guard", "_has_opened", "_has_proxy", "_has_request", "_headers", "_refusal", "_response"),
        *("_url", "began_at", "claim", "curl", "ends_at", "started_at", "held_up_for", "waited_us"),
    )

    def __init__(self, guard: AddressGuard, proxy: ForwardProxy | None = None) -> None:
        self._guard = guard
        self._has_proxy = proxy is not None
        self._url = ""
        self._refusal: str | None = None
        self._has_request = self._has_opened = False
        self._headers = bytearray()
        self._response = bytearray()
        self._answered_at: float | None = None
        self.claim: Claim | None = None
        self.started_at: datetime | None = None
        self.began_at = self.ends_at = 0.0
        # The time in which this process was frozen, or waited for the database, since the attempt began.
        self.held_up_for = 0.0
        # The microseconds that passed until the receiver's addresses were known.
        self.waited_us = 0
        curl = self.curl = pycurl.Curl()
        curl.transfer = self
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        # Otherwise libcurl would resolve dot segments. It would respell the target too, so `start` sets it.
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.MAXAGE_CONN, _MAX_IDLE_SECONDS)
        curl.setopt(pycurl.MAXLIFETIME_CONN, _MAX_CONNECTION_SECONDS)
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, _ADDRESSES_KEPT_SECONDS)
        # The sender enforces the real limits. libcurl checks its own before it reads the socket, so after a pause of
        # this process it would throw away answers that have already arrived.
        curl.setopt(pycurl.TIMEOUT_MS, 3_600_000)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, 3_600_000)
        curl.setopt(pycurl.CAINFO, certificate_bundle())
        # If unset, libcurl would use a proxy from the environment, and the guard would see only the proxy's address.
        curl.setopt(pycurl.PROXY, proxy.url if proxy else "")
        if proxy is not None:
            _set_up_tunnel(curl, proxy)
        curl.setopt(pycurl.HEADERFUNCTION, self._headers.extend)
        curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def begin(self, claim: Claim, *, started_at: datetime, timeout: float) -> None:
        """Begins an attempt. `send` follows when the receiver's addresses are known.

        The caller ends it as soon as `is_late` returns true.
        """
        # Somebody else holds a large body: first the caller, and then the request.
        self.claim = claim._replace(body="") if claim.is_large else claim
        self.started_at = started_at
        self._refusal, self._has_request, self._has_opened = None, False, False
        self.began_at = time.monotonic()
        self.ends_at = self.began_at + timeout
        self.held_up_for = 0.0
        self.waited_us = 0
        self._answered_at = None
        self._headers.clear()
        self._response.clear()

    def end_wait(self) -> None:
        """Counts the time until now as the time in which the receiver's addresses were looked up."""
        self.waited_us = int((time.monotonic() - self.began_at) * 1_000_000)

    def send(self, request: CallbackRequest, *, addresses: str) -> None:
        """Sets up the handle for this request. May raise pycurl.error. The caller adds it to its multi handle.

        `addresses` is an entry of CURLOPT_RESOLVE, or empty if libcurl needs none.
        """
        self._url, self._has_request = request.url, True
        curl = self.curl
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.REQUEST_TARGET, target_of(request.url))
        curl.setopt(pycurl.HTTPHEADER, request.headers)
        curl.setopt(pycurl.POSTFIELDS, request.body)
        if addresses:
            curl.setopt(pycurl.RESOLVE, [addresses])

    def forget(self) -> None:
        """Frees a large body, which libcurl would keep until the next request."""
        if self.claim is not None and self.claim.is_large:
            self.curl.setopt(pycurl.POSTFIELDS, b"")
        self.claim = None

    def is_late(self, now: float) -> bool:
        """Returns whether the time for the answer, or for its body, is over. The caller must ask regularly."""
        if now >= self.ends_at + self.held_up_for:
            return True
        if self._answered_at is None:
            if self.is_answered():
                self._answered_at = now
            return False
        return now - self._answered_at >= BODY_SECONDS

    def may_have_sent(self) -> bool:
        """Returns whether a part of the request may have left."""
        # libcurl notes the time once it is connected, but also when no connection could be made.
        is_of_this_request = self._has_request and self.curl.getinfo(pycurl.PRETRANSFER_TIME_T)
        return bool(is_of_this_request and self.curl.getinfo(pycurl.REQUEST_SIZE))

    def result(self, errno: int | None, *, is_interrupted: bool = False) -> Result:
        """Returns how the transfer ended. `errno` is libcurl's error number, or None if it found no fault.

        With `is_interrupted`, we ended it without a reason that lies in the receiver.
        """
        curl = self.curl
        status: int | None = None
        failure: Failure | None = None
        if self.is_answered():
            status = int(curl.getinfo(pycurl.RESPONSE_CODE))
            message = _join(_meaning(status), self._fault_of_body(errno))
        elif is_interrupted:
            failure = Failure(AttemptError.INTERRUPTED, str(AttemptError.INTERRUPTED.label))
            message = failure.cause
        else:
            # libcurl reports success for headers that were cut short.
            failure = self._failure(pycurl.E_GOT_NOTHING if errno is None else errno)
            message = failure.cause
        error = failure.error if failure else None
        # With a proxy the peer is the proxy, and only it knows the receiver's address.
        is_known = self._has_request and not self._has_proxy
        attempt = self._attempt(status, error, message)._replace(
            timings=self._timings(),
            address=(curl.getinfo(pycurl.PRIMARY_IP) or None) if is_known else None,
            response=self._kept_response(),
        )
        retry_after = int(curl.getinfo(pycurl.RETRY_AFTER)) if status is not None else 0
        return Result(
            status=status,
            error=error,
            retry_after=retry_after,
            attempt=attempt,
            may_have_been_sent=self.may_have_sent(),
            is_proxys_fault=failure is not None and failure.is_proxys_fault,
        )

    def unsendable(self, error: Exception) -> Attempt:
        """Returns the attempt as one whose request could not be made."""
        cause = error.message if isinstance(error, PlatformError) else f"{type(error).__name__}."
        return self._attempt(None, AttemptError.UNSENDABLE, f"The request could not be made: {cause}")

    def is_answered(self) -> bool:
        """Returns whether the final status and all headers have arrived."""
        return self._headers.endswith(_END_OF_HEADERS) and self.curl.getinfo(pycurl.RESPONSE_CODE) >= 200

    def _attempt(self, status: int | None, error: AttemptError | None, message: str) -> Attempt:
        assert self.claim is not None  # noqa: S101 (`begin` has set both)
        assert self.started_at is not None  # noqa: S101
        return Attempt(self.claim.attempt, self.started_at, status=status, error=error, message=message)

    def _fault_of_body(self, errno: int | None) -> str:
        if errno is None or len(self._response) >= RESPONSE_LIMIT:
            return ""
        if errno == pycurl.E_OPERATION_TIMEDOUT:
            return "The answer's body did not end in time."
        return "The answer's body was cut short."

    def _kept_response(self) -> str:
        """Returns the beginning of the answer's body as text, without the secrets that the request held."""
        if not self._response or self.claim is None:
            return ""
        # PostgreSQL's text type cannot hold NUL.
        text = self._response.decode("utf-8", "replace").replace("\0", "\ufffd")
        command = self.claim.command
        own = (*command.signing_secrets, command.signature, command.next_signature)
        return remove_secrets(text, secrets=own, headers=self.claim.headers)

    def close(self) -> None:
        self.curl.close()

    def _write(self, data: bytes) -> int | None:
        room = RESPONSE_LIMIT - len(self._response)
        self._response += data[:room]
        # A short count makes libcurl drop the connection, so nothing beyond the limit is read.
        return None if len(data) <= room else 0

    def _open_socket(self, purpose: int, address: Any) -> socket.socket | int:
        family, kind, protocol, peer = address
        host = peer[0].decode() if isinstance(peer[0], bytes) else peer[0]
        refusal = self._refusal_of(host, int(peer[1]))
        if refusal is not None:
            self._refusal = refusal
            return int(pycurl.SOCKET_BAD)
        self._has_opened = True
        return _Socket(family, kind, protocol)

    def _refusal_of(self, address: str, port: int) -> str | None:
        """Returns a sentence that says why no socket to this address may be opened for the URL, or None."""
        refusal = self._guard.url_refusal(self._url)
        if refusal is None and not self._has_proxy and (reason := self._guard.refusal(address, port)) is not None:
            refusal = f"Callbacks may not reach this address: {reason}. {self._guard.advice(address)}"
        return refusal

    def _failure(self, errno: int) -> Failure:
        if not self._has_request:
            return name_failure(errno)
        # A name may have one address that is refused and another that is down now, but may answer on a retry.
        if self._refusal is not None and not self._has_opened and errno == pycurl.E_COULDNT_CONNECT:
            return Failure(AttemptError.BLOCKED_ADDRESS, self._refusal)
        error = error_of(errno, header_bytes=len(self._headers))
        if self._has_proxy and error != AttemptError.INVALID_URL and not self._has_tunnel():
            return proxy_failure(
                errno,
                status=int(self.curl.getinfo(pycurl.HTTP_CONNECTCODE)),
                is_connected=bool(self.curl.getinfo(pycurl.NUM_CONNECTS)),
            )
        return Failure(error, cause_of(error, self.curl.errstr()))

    def _has_tunnel(self) -> bool:
        """Returns whether the proxy has connected us, in this transfer or in an earlier one whose socket is reused."""
        if self._has_opened:
            return 200 <= int(self.curl.getinfo(pycurl.HTTP_CONNECTCODE)) < 300
        return bool(self.curl.getinfo(pycurl.PRIMARY_IP))

    def _timings(self) -> Timings:
        """Returns how long each part of the attempt took. Without a request, the handle's times are of another one."""
        if not self._has_request:
            self.end_wait()
            return Timings(dns=self.waited_us, connect=0, tls=0, first_byte=0, total=self.waited_us)
        curl = self.curl
        looked_up = curl.getinfo(pycurl.NAMELOOKUP_TIME_T)
        connected = curl.getinfo(pycurl.CONNECT_TIME_T)
        secured = curl.getinfo(pycurl.APPCONNECT_TIME_T)
        ready = curl.getinfo(pycurl.PRETRANSFER_TIME_T)
        first_byte = curl.getinfo(pycurl.STARTTRANSFER_TIME_T)
        return Timings(
            dns=self.waited_us + looked_up,
            connect=max(connected - looked_up, 0),
            tls=max(secured - connected, 0),
            first_byte=max(first_byte - ready, 0),
            total=self.waited_us + curl.getinfo(pycurl.TOTAL_TIME_T),
        )


def _set_up_tunnel(curl: Any, proxy: ForwardProxy) -> None:
    """Uses CONNECT for http too, so that an answer of the proxy is never taken for the receiver's answer."""
    curl.setopt(pycurl.HTTPPROXYTUNNEL, 1)
    # If unset, libcurl would bypass the proxy for the hosts in the environment's no_proxy.
    curl.setopt(pycurl.NOPROXY, "")
    curl.setopt(pycurl.PROXY_CAINFO, certificate_bundle())
    # For the CONNECT request. The callback sets its own.
    curl.setopt(pycurl.USERAGENT, USER_AGENT)
    if proxy.username is not None:
        curl.setopt(pycurl.PROXYUSERNAME, proxy.username)
        curl.setopt(pycurl.PROXYPASSWORD, proxy.password)


def target_of(url: str) -> str:
    """Returns the path and query of a URL, unchanged."""
    return url[url.index("/", url.index("://") + 3) :]


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return "The receiver redirects; redirects are not followed."
    if 200 <= status < 300:
        return ""
    return f"The receiver answered with status {status}."


def _join(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
