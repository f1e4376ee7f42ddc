"""A failure's log line shows the traceback, and none of the values that happened to be in it."""

from __future__ import annotations

import logging
import logging.config

import pytest

from config.infra.logs import logging_config
from config.settings import IS_PRODUCTION


@pytest.mark.parametrize("as_json", [True, False])
def test_no_local_variable_is_logged(as_json, capsys):
    def fail(password: str) -> None:
        raise RuntimeError("it failed")

    logging_config(level="INFO", as_json=as_json)
    try:
        fail("".join(["sword", "fish"]))
    except RuntimeError:
        logging.getLogger("test").exception("a failure")
    finally:
        logging_config(level="INFO", as_json=IS_PRODUCTION)
    logged = capsys.readouterr().err
    assert "it failed" in logged
    assert "in fail" in logged
    assert "swordfish" not in logged
