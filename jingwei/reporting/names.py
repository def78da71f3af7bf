"""The page's languages; names that people gave, as text for it, and as folders that any disk and any browser takes."""

import hashlib
import os
import re

LANGUAGES = ("auto", "en", "zh")  # auto: the browser's
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}(?<!\.)")  # names that are folders and addresses as they are


def shown(name: str) -> str:
    """A file's name as text. Bytes that are not UTF-8 are read as GB 18030, as Chinese archives have them."""
    content = os.fsencode(name)
    for encoding in ("utf-8", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            pass
    return content.decode("utf-8", "replace")


def folder_name(name: str) -> str:
    """The folder of a scene's tiles: its name where that is plain, else what is plain of it and a hash of it all.

    `#`, `?` and `%` mean something in an address, bytes that are not UTF-8 can't be written in one, and a long name
    leaves no room for the tiles below it on Windows.
    """
    if PLAIN.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:40]
    return f"{plain}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
