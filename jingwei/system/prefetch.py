"""Work ahead and work behind: pieces are made, or put away, on a thread while others are worked on."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The same items in the same order, up to `depth` of them made ahead on a thread.

    An exception in `items` is raised here, after the items before it. Leaving the loop early stops the thread.
    """
    ready: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[Any, BaseException | None]) -> None:
        while not stopped.is_set():
            try:
                return ready.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                del item  # or a strip would live until the next one is read
                if stopped.is_set():
                    return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
            del item
    finally:
        stopped.set()
        thread.join()


@contextmanager
def behind(put_away: Callable[[T], None], depth: int = 1) -> Iterator[Callable[[T], None]]:
    """Gives a function that hands an item to `put_away` on a thread, in order, and waits while `depth` others wait.

    The block ends when all is put away. What `put_away` raises is raised by the next call, or at the block's end.
    """
    waiting: queue.Queue = queue.Queue(depth)
    failed: list[BaseException] = []

    def work() -> None:
        while (item := waiting.get()) is not _END:
            if not failed:
                try:
                    put_away(item)
                except BaseException as error:
                    failed.append(error)
            del item

    def hand_over(item: T) -> None:
        if failed:
            raise failed[0]
        waiting.put(item)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield hand_over
    finally:
        waiting.put(_END)
        thread.join()
    if failed:
        raise failed[0]
