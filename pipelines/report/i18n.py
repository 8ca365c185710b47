"""Messages in the reader's language: one JSON catalogue per language.

The catalogues hold the same keys, but for ``term.*``: wordings whose English lives in a registry or in the record, so
that only the other languages list them. Ids, units and recorded sentences are never translated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from markupsafe import Markup, escape

from metrology_core.errors import UsageError
from pipelines.report.encode import safe_json

LANGUAGES = {"en": ("en", "English"), "zh": ("zh-CN", "\u4e2d\u6587")}
_SLOT = re.compile(r"\{(\w+)\}")


@cache
def catalogue(language: str) -> dict[str, str]:
    """Every message of one language by key."""
    text = (files("pipelines.report") / "messages" / f"{language}.json").read_text(encoding="utf-8")
    messages: dict[str, str] = json.loads(text)
    return messages


def check_languages(languages: Sequence[str]) -> tuple[str, ...]:
    """The languages asked for, refused with the choices when unknown, repeated or none."""
    if not languages or any(name not in LANGUAGES for name in languages) or len(set(languages)) != len(languages):
        raise UsageError(
            "unknown report language",
            expected=f"one or more of {', '.join(LANGUAGES)}, each once",
            got=repr(tuple(languages)),
            remedy="pass for instance languages=('en', 'zh')",
        )
    return tuple(languages)


class Words:
    """Renders messages as markup that the page's script can switch to another language."""

    def __init__(self, languages: Sequence[str]) -> None:
        self.languages = check_languages(languages)
        self.first = self.languages[0]

    def text(self, key: str, **arguments: object) -> str:
        """Plain text in the first language. An unknown key is a fault of ours and raises KeyError."""
        return _SLOT.sub(lambda m: str(arguments[m.group(1)]), catalogue(self.first)[key])

    def t(self, key: str, **arguments: object) -> Markup:
        """A translatable span."""
        data = Markup(' data-a="{}"').format(safe_json({k: str(v) for k, v in arguments.items()})) if arguments else ""
        return Markup('<span data-m="{}"{}>{}</span>').format(key, data, self.text(key, **arguments))

    def term(self, key: str, recorded: str) -> Markup:
        """A wording of the record or of a registry, which is English; translated where a catalogue has the key."""
        if not any(key in catalogue(name) for name in self.languages):
            return escape(recorded)
        text = catalogue(self.first).get(key, recorded)
        return Markup('<span data-m="{}" data-en="{}">{}</span>').format(key, recorded, text)

    def attribute(self, name: str, key: str) -> Markup:
        """A translatable attribute (several may stand on one element, each with its own ``data-m-NAME``)."""
        return Markup('{}="{}" data-m-{}="{}"').format(name, self.text(key), name, key)

    def script(self) -> str:
        """The catalogues as a script for the pages."""
        chosen = {name: catalogue(name) for name in self.languages}
        tags = {name: LANGUAGES[name][0] for name in self.languages}
        return f"abbe.messages({safe_json(chosen)},{safe_json(tags)});\n"
