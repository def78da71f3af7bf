"""Work ahead on a thread: same items, same order, same exception, nothing left running."""

import threading

import pytest

from jingwei.system.prefetch import ahead


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_items_come_in_order(count, depth):
    assert list(ahead(range(count), depth)) == list(range(count))


def test_none_and_falsy_items_pass():
    assert list(ahead([None, 0, "", None])) == [None, 0, "", None]


def test_an_exception_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("disk gone")

    coming = ahead(items())
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(OSError, match="disk gone"):
        next(coming)


def test_items_are_made_on_another_thread_and_no_further_ahead_than_asked():
    made, makers = threading.Semaphore(0), set()

    def items():
        for k in range(20):
            makers.add(threading.get_ident())
            made.release()
            yield k

    coming = ahead(items(), depth=2)
    assert next(coming) == 0
    assert all(made.acquire(timeout=20) for _ in range(4))  # the one used, two that wait, the one in hand
    assert not made.acquire(timeout=0.3)
    assert list(coming) == list(range(1, 20))
    assert len(makers) == 1
    assert threading.get_ident() not in makers


def test_leaving_early_stops_the_thread():
    before = threading.active_count()
    made = []

    def items():
        for k in range(10**9):
            made.append(k)
            yield k

    for item in ahead(items()):
        if item == 3:
            break
    assert threading.active_count() == before  # the loop waits for its end
    assert len(made) < 10


def test_an_exception_in_the_loop_stops_the_thread():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        [1 // item for item in ahead(iter(int, 1))]
    assert threading.active_count() == before  # the loop waits for its end
