"""What every refusal of something that was asked for has: a sentence, and the field that it is about."""

from __future__ import annotations


class InvalidInput(ValueError):  # noqa: N818  (of what was asked for, not of how things stand)
    """What was asked for does not fit; `field` says where, and the sentence what to do about it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field
