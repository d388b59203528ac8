"""Runs a request with an `Idempotency-Key` once, and gives its answer again to the same request.

The answer is written in the transaction that the request runs in, so a crash leaves both or neither. A lock of that
transaction keeps a second request with the key from running at the same time.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

from django.conf import settings
from django.db import connection, transaction
from psycopg.pq import TransactionStatus
from rest_framework.request import Request
from rest_framework.response import Response

from auth_tokens.models import CallerContext, TokenSubject
from commands_platform.lib import encryption
from commands_platform.lib.database.statements import execute, rows_as, rows_of
from commands_platform.lib.errors import IdempotencyInProgressError, IdempotencyMismatchError
from commands_platform.lib.http import idempotency
from commands_platform.lib.http.idempotency import IDEMPOTENCY_META, StoredAnswer

ANSWERS_KEPT_FOR = timedelta(hours=24)
MAX_STORED_LENGTH = 2 * 1024 * 1024

_FIND_ANSWER = """
SELECT pg_try_advisory_xact_lock(%(lock)s) AS is_free, r.fingerprint, r.status, r.answer
FROM (VALUES (0)) AS one LEFT JOIN auth_tokens_idempotentrequest r
  ON r.api_key_id = %(api_key)s AND r.digest = %(digest)s AND r.created_at > now() - %(kept_for)s
"""
# An answer that is there already is left alone, unless its time is over.
_STORE_ANSWER = """
INSERT INTO auth_tokens_idempotentrequest AS r (api_key_id, digest, fingerprint, status, answer, created_at)
VALUES (%(api_key)s, %(digest)s, %(fingerprint)s, %(status)s, %(answer)s, now())
ON CONFLICT (api_key_id, digest) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint, status = EXCLUDED.status, answer = EXCLUDED.answer, created_at = now()
WHERE r.created_at <= now() - %(kept_for)s
RETURNING r.id
"""
_REMOVE_ANSWERS = """
DELETE FROM auth_tokens_idempotentrequest WHERE id IN (
    SELECT id FROM auth_tokens_idempotentrequest WHERE created_at <= now() - %(kept_for)s
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
"""


class ReplayedAnswerError(Exception):
    """The request has run already. Its answer is given again."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class _FoundAnswer(NamedTuple):
    is_free: bool
    fingerprint: bytes | None
    status: int | None
    answer: str | None


class KeyedRequest:
    """A request with an `Idempotency-Key`. As a context manager, it ends the transaction that `begin` has started."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._identity: dict[str, Any] = {}
        self._fingerprint = b""
        self._is_running = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, traceback)

    def begin(self, request: Request, context: CallerContext) -> None:
        """Starts the transaction that the request runs in.

        Raises ReplayedAnswerError if the request has run already, IdempotencyMismatchError if another request has used
        the key, IdempotencyInProgressError if one is running, and InvalidIdempotencyKeyError.
        """
        key = idempotency.read_idempotency_key(request.META[IDEMPOTENCY_META])
        digest = idempotency.digest_of([context.api_key.pk, request.method, request.path.rstrip("/"), key])
        query = request.META.get("QUERY_STRING", "")
        self._fingerprint = idempotency.digest_of([query, _subject(context), request.data])
        self._identity = {"api_key": context.api_key.pk, "digest": digest, "kept_for": ANSWERS_KEPT_FOR}
        # It begins only here, so that it does not hold a lock on the row of the API key.
        self._stack.enter_context(transaction.atomic())
        self._look()
        self._is_running = True

    def finish(self, response: Response) -> None:
        """Stores the answer and commits, or rolls back an answer that says that the server failed.

        Raises the errors of `begin` if another request with the key was quicker. It came between the two statements of
        this one, which is then undone.
        """
        if not self._is_running:
            return
        try:
            self._settle(response)
        except BaseException:
            transaction.set_rollback(True)
            raise
        finally:
            self._stack.close()

    def _settle(self, response: Response) -> None:
        response.render()
        if response.status_code >= 500 or not _is_usable():
            transaction.set_rollback(True)
        elif not self._store(idempotency.store_answer(response)):
            transaction.set_rollback(True)
            self._stack.close()
            self._stack.enter_context(transaction.atomic())
            self._look()

    def _look(self) -> None:
        (found,) = rows_as(
            _FoundAnswer, _FIND_ANSWER, {**self._identity, "lock": _lock_number(self._identity["digest"])}
        )
        if found.answer is None or found.status is None:
            if found.is_free:
                return
            raise IdempotencyInProgressError
        if found.fingerprint != self._fingerprint:
            raise IdempotencyMismatchError
        raise ReplayedAnswerError(idempotency.replay(StoredAnswer(found.status, encryption.decrypt(found.answer))))

    def _store(self, answer: StoredAnswer) -> bool:
        """Stores the answer, unless another request has stored one. Returns whether the request's effects may stay."""
        if len(answer.content) > max(MAX_STORED_LENGTH, settings.MAX_BODY_BYTES):
            # Only reads have such long answers. They can run again.
            return True
        values = {
            "fingerprint": self._fingerprint,
            "status": answer.status,
            # It may hold a token or a key.
            "answer": encryption.encrypt(answer.content),
        }
        return bool(rows_of(_STORE_ANSWER, {**self._identity, **values}))


def remove_expired_answers(*, limit: int = 2_000) -> None:
    """Removes up to `limit` answers whose time is over, the oldest first."""
    execute(_REMOVE_ANSWERS, {"kept_for": ANSWERS_KEPT_FOR, "limit": limit})


def _subject(context: CallerContext) -> list[object]:
    """Returns the parties of the token. A new token for the same ones does not make another request."""
    token = context.sent_token
    if isinstance(token, TokenSubject):
        return [token.command.pk, token.user.pk if token.user else None]
    return [token]


def _is_usable() -> bool:
    """Returns whether the transaction is still good. After an error of the database it can only be rolled back."""
    raw = connection.connection
    return raw is not None and raw.info.transaction_status == TransactionStatus.INTRANS


def _lock_number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big", signed=True)
