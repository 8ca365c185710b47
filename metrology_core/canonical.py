"""One canonical JSON form, so that equal content has equal bytes and equal digests everywhere."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from metrology_core.errors import ParameterError


def canonical_json(document: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces; floats in their shortest exact form; NaN and infinity refused.

    Raises `ParameterError` for content that JSON cannot carry.
    """
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"the document has no canonical form: {error}",
            expected="text, finite numbers, booleans, null, lists and mappings with text keys",
        ) from None
    return text.encode("utf-8")


def sha256_json(document: Any) -> str:
    """SHA-256 of the canonical form, as hexadecimal text."""
    return hashlib.sha256(canonical_json(document)).hexdigest()
