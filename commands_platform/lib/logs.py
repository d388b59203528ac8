"""One log format for every process: structlog events through the standard library's root logger, to standard output."""

from __future__ import annotations

import logging
import logging.config
from typing import Any

import structlog

from commands_platform.lib.masking import mask_secrets

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
]


def _mask_line(_logger: structlog.typing.WrappedLogger, _method: str, line: Any) -> Any:
    """Takes secrets out of a rendered line: an error's message may repeat what it was given."""
    return mask_secrets(line)


class NotAboutHealth(logging.Filter):
    """Leaves out what the request log says of /healthz and /readyz: they are asked all the time, and tell the asker."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = record.msg.get("request", "") if isinstance(record.msg, dict) else ""
        return not str(request).endswith(("/healthz", "/readyz"))


def logging_config(*, log_format: str, level: str) -> None:
    """Sets up logging for this process: `console` for people, `json` (a line an event) for machines."""
    renderer: structlog.typing.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
        extra: list[structlog.typing.Processor] = [structlog.processors.format_exc_info]
    else:
        # Its own tracebacks show the local variables, and with them payloads and keys.
        traceback = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, exception_formatter=traceback)
        extra = []
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": _SHARED,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *extra,
                        renderer,
                        _mask_line,
                    ],
                }
            },
            "filters": {"not_about_health": {"()": NotAboutHealth}},
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "formatter": "structured",
                }
            },
            "root": {"handlers": ["stdout"], "level": level},
            "loggers": {
                # Celery tells of each hint it gets; there are several a second and they carry nothing.
                "celery.worker.strategy": {"level": "WARNING"},
                "celery.app.trace": {"level": "WARNING"},
                "celery.beat": {"level": "WARNING"},
                # The request log says the same with the request's id.
                "django.request": {"level": "CRITICAL"},
                "django_structlog.middlewares.request": {"level": "WARNING", "filters": ["not_about_health"]},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
