"""The hub that weights come from, and its cache: asked at once, or not at all.

Without a network, huggingface_hub tries again and again for a minute, and says so each time.
"""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants

PATIENCE = 5  # s to wait for an answer
MIRROR = "set HF_ENDPOINT to a mirror's address"


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """While the block runs, files come from the hub; where there is no way to it, from what was fetched before."""
    log = logging.getLogger("huggingface_hub")
    before = constants.HF_HUB_OFFLINE, log.level
    constants.HF_HUB_OFFLINE = before[0] or not is_reachable()
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[0]
        log.setLevel(before[1])


def is_reachable() -> bool:
    """Whether somebody answers at the hub's address; behind a proxy nobody can tell, and it is tried."""
    address = urlsplit(constants.ENDPOINT)
    if address.scheme in getproxies() or not address.hostname:
        return True
    try:
        with socket.create_connection((address.hostname, address.port or 443), timeout=PATIENCE):
            return True
    except OSError:
        return False
