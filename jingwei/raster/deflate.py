"""Deflate (zlib's format, RFC 1950) by ISA-L: many times the speed of zlib at about the size of its level 1.

The same bytes for the same data, which ISA-L alone does not promise. Its loop for x86 CPUs (as isal 1.9.1 has it) makes
the hash of a stream's third byte of the address at which its own state lies, not of the data: so a few streams find
another match, where the process has put that state elsewhere. It does not where a single byte is all that it can
compress at first.
"""

import numpy as np
from isal import isal_zlib

AHEAD = 288  # bytes that ISA-L keeps to look at before it compresses one


class Deflater:
    """A stream that is compressed piece by piece."""

    def __init__(self) -> None:
        self._stream = isal_zlib.compressobj(1)
        self._left = AHEAD + 1  # bytes to go until the first one is compressed

    def add(self, values: np.ndarray) -> bytes:
        """Takes in an array (uint8, any shape); returns what is compressed by now."""
        data = values.reshape(-1)
        first, rest = data[: self._left], data[self._left :]
        self._left -= len(first)
        return self._stream.compress(first) + self._stream.compress(rest)

    def end(self) -> bytes:
        """The end of the stream."""
        return self._stream.flush()


def deflated(values: np.ndarray) -> bytes:
    """An array (uint8, any shape) in one go."""
    stream = Deflater()
    return stream.add(values) + stream.end()
