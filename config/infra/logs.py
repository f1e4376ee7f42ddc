"""Structured logging: one line an event, JSON in production; never a body, a header or a secret."""

from __future__ import annotations

import logging.config

import structlog


def logging_config(*, level: str, as_json: bool) -> None:
    """Send every logger's lines to standard error through structlog's formatter."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Not structlog's default of a traceback with every local variable: those hold secrets, and cost a second each.
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer() if as_json else console
    exceptions: list[structlog.typing.Processor] = [structlog.processors.format_exc_info] if as_json else []
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *exceptions,
                        renderer,
                    ],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "loggers": {  # a line for every drain says nothing
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
            },
            "root": {"handlers": ["stderr"], "level": level},
        }
    )
