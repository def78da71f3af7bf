"""States of the process that are set while somebody needs them, whoever comes and goes in whatever order."""

import threading
from contextlib import contextmanager

import pytest

from jingwei.system.while_used import WhileUsed


@pytest.fixture
def noted():
    """A shared state, and the list of what became of it."""
    events: list[str] = []

    @contextmanager
    def state():
        events.append("set")
        try:
            yield
        finally:
            events.append("put back")

    return WhileUsed(state), events


def test_it_is_set_by_the_first_and_put_back_by_the_last(noted):
    used, events = noted
    with used:
        with used:
            assert events == ["set"]
        assert events == ["set"]
    assert events == ["set", "put back"]
    with used:
        pass
    assert events == ["set", "put back"] * 2


def test_threads_that_overlap_share_it(noted):
    used, events = noted
    inside, leave = threading.Barrier(5), threading.Event()

    def work():
        with used:
            inside.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    assert events == ["set"]
    leave.set()
    for thread in threads:
        thread.join()
    assert events == ["set", "put back"]


def test_an_error_inside_puts_it_back(noted):
    used, events = noted
    with pytest.raises(ValueError, match="inside"), used:
        raise ValueError("inside")
    assert events == ["set", "put back"]


def test_a_state_that_can_not_be_set_counts_for_nothing():
    tries = []

    @contextmanager
    def state():
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not now")
        yield

    used = WhileUsed(state)
    with pytest.raises(OSError, match="not now"), used:
        pass
    with used:
        assert len(tries) == 2
