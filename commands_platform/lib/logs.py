"""Sets up logging: structlog events go through the root logger to standard output."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import MutableMapping
from typing import Any

import structlog

from commands_platform.lib.masking import mask_secrets

_SHARED_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
]
# The console does not show these ids, except with errors. The JSON log has them.
_HIDDEN_FROM_PEOPLE = ("correlation_id", "delivery", "request_id", "schedule_uuid", "user_id")


def _mask_line(_logger: structlog.typing.WrappedLogger, _method: str, line: Any) -> Any:
    """Removes secrets from a rendered line, because the message of an error may contain its input."""
    return mask_secrets(line)


class WithoutTraceback(logging.Filter):
    """Removes the traceback from errors that anybody can cause by a request, such as one for an unknown host."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True


class NotAboutHealth(logging.Filter):
    """Drops failed requests to /healthz and /readyz: there are many, and the client sees the answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = record.msg.get("request", "") if isinstance(record.msg, dict) else ""
        return not str(request).endswith(("/healthz", "/readyz"))


class ConsoleRenderer:
    """Renders an event as one line for people: `Callback delivered: schedule=hello status=204 duration_ms=12`."""

    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        timestamp, level = str(event.pop("timestamp", "")), str(event.pop("level", "info"))
        logger, traceback = str(event.pop("logger", "")), event.pop("exception", None)
        words = str(event.pop("event", ""))
        if " " not in words:
            words = words.replace("_", " ").capitalize()
        if level not in ("error", "critical"):
            for name in _HIDDEN_FROM_PEOPLE:
                event.pop(name, None)
        facts = " ".join(f"{name}={_shown(value)}" for name, value in event.items() if value is not None)
        parts = (
            f"{timestamp[:23]}Z" if self._timestamps else "",
            "" if level == "info" else f"{level.upper()}",
            f"{words}: {facts}" if facts else words,
            f"[{logger}]" if level in ("error", "critical", "debug") else "",
        )
        line = " ".join(part for part in parts if part)
        return f"{line}\n{traceback}" if traceback else line


def logging_config(*, log_format: str, level: str, timestamps: bool = True) -> None:
    """Sets up logging for this process: `console` for people, `json` (one object a line) for machines.

    Without `timestamps` the console leaves them out, because another program puts its own in front of each line.
    """
    # Tracebacks must not show local variables, which may contain payloads and keys.
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else ConsoleRenderer(timestamps=timestamps)
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": _SHARED_PROCESSORS,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.format_exc_info,
                        renderer,
                        _mask_line,
                    ],
                }
            },
            "filters": {"not_about_health": {"()": NotAboutHealth}, "no_traceback": {"()": WithoutTraceback}},
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "formatter": "structured",
                }
            },
            "root": {"handlers": ["stdout"], "level": level},
            "loggers": {
                # Celery logs each hint that it receives, and each expired hint that it discards. That would be several
                # useless lines a second.
                "celery": {"level": "WARNING"},
                # The request log reports the same with the request's id.
                "django.request": {"level": "CRITICAL"},
                "django.security.DisallowedHost": {"filters": ["no_traceback"]},
                "django_structlog.middlewares.request": {"level": "WARNING", "filters": ["not_about_health"]},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _shown(value: Any) -> str:
    """Returns the value as text, in quotes if it has spaces or characters that a terminal could interpret."""
    text = str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text)
