"""Text from outside in messages: one line, of limited length, without control characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

LONGEST = 1000
"""Characters of a message. A longer one is cut in the middle: its end may hold the advice."""
WORD = 256
"""Characters without a blank that are cut: longer than most paths."""
SHOWN = 60
"""Characters of a value that a message repeats."""
FEW = 5
"""Names that a message repeats."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return a text as one line: line breaks become blanks, other control characters escapes."""
    line = re.sub(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text.strip())
    line = "".join(
        character.encode("unicode_escape").decode() if is_control(character) else character
        for character in line
    )
    line = re.sub(rf"\S{{{WORD},}}", lambda found: f"{found[0][:SHOWN]}…", line)
    if len(line) <= longest:
        return line
    end = longest // 4
    return f"{line[: longest - end - 3]} … {line[-end:]}"


def reason(error: BaseException) -> str:
    """Return the text of an error on one line, without an end, which a sentence can go on after."""
    return one_line(str(error)).rstrip(":. ")


def is_control(character: str) -> bool:
    """Return True for control characters, marks of text direction, and halves of characters."""
    # Cc: control; Cf: format, such as marks of direction; Cs: bytes that are not UTF-8
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def shown(value: object) -> str:
    """Return the representation of a value for a message, cut after `SHOWN` characters."""
    # a long value is cut first: its whole representation may take minutes
    try:
        text = repr(value[: 2 * SHOWN] if isinstance(value, str | bytes | list | tuple) else value)
    except ValueError:  # Python refuses to print thousands of digits
        return "a larger number"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def few(texts: Sequence[str]) -> str:
    """Join the first `FEW` texts by commas, and count the others."""
    more = f" and {len(texts) - FEW:,} more" if len(texts) > FEW else ""
    return ", ".join(texts[:FEW]) + more


def path_problem(text: str) -> str | None:
    """Return what is wrong with the text of a path, such as `is empty`; `None` if nothing is."""
    if not text.strip():
        return "is empty"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return f"holds a control character, {shown(text)}"
    if any(unicodedata.category(character) == "Cs" for character in text):
        return f"is not UTF-8, {shown(text)}"
    return None
