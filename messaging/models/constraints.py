"""What the constraints of settings say to the person whose form or request they refuse."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models, router


class Worded(models.Model):
    """A row that says, beside a field, which of its constraints does not hold, and what to do about it."""

    WORDS: ClassVar[Mapping[str, tuple[str, str]]] = {}  # by the constraint's name: the field, and the sentence

    class Meta:
        abstract = True

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Look whether the constraints hold, of whose columns none is known to be wrong already.

        Raises: ValidationError by field.
        """
        told: dict[str, list[str]] = {}
        database = router.db_for_write(type(self), instance=self)
        for model, constraints in self.get_constraints():
            for constraint in constraints:
                try:
                    constraint.validate(model, self, exclude=set(exclude or ()), using=database)
                except ValidationError:
                    field, sentence = self.WORDS[constraint.name]
                    told.setdefault(field, []).append(sentence)
        if told:
            raise ValidationError(told)
