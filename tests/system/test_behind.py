"""Work behind on a thread: all is put away, in order; a failure comes to the one who hands over, and nothing hangs."""

import threading
import weakref

import pytest

from jingwei.system.prefetch import behind


def give(put_away, items, depth=1, handed=None) -> None:
    """Hands items over one after another, raises exceptions among them; `handed` collects those that were taken."""
    with behind(put_away, depth) as hand_over:
        for item in items:
            if isinstance(item, Exception):
                raise item
            hand_over(item)
            if handed is not None:
                handed.append(item)


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_all_is_put_away_in_order_when_the_block_ends(count, depth):
    kept = []
    with behind(kept.append, depth) as hand_over:
        for k in range(count):
            hand_over(k)
    assert kept == list(range(count))


def test_none_and_falsy_items_are_put_away_too():
    kept = []
    with behind(kept.append) as hand_over:
        for item in (None, 0, "", None):
            hand_over(item)
    assert kept == [None, 0, "", None]


def test_it_works_on_another_thread_which_ends_with_the_block():
    before, workers = threading.active_count(), set()
    with behind(lambda item: workers.add(threading.get_ident())) as hand_over:
        hand_over(1)
        hand_over(2)
    assert len(workers) == 1
    assert threading.get_ident() not in workers
    assert threading.active_count() == before


def test_who_hands_over_waits_while_as_many_wait_as_may():
    begun, go_on, handed = threading.Event(), threading.Event(), []

    def put_away(item):
        begun.set()
        assert go_on.wait(20)

    def work() -> None:
        with behind(put_away, depth=2) as hand_over:
            for k in range(5):
                hand_over(k)
                handed.append(k)
                three.release()

    three = threading.Semaphore(0)
    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(20)
    assert all(three.acquire(timeout=20) for _ in range(3))  # one in hand, two that wait
    assert not three.acquire(timeout=0.2)
    assert handed == [0, 1, 2]
    go_on.set()
    thread.join(20)
    assert handed == [0, 1, 2, 3, 4]


def test_a_failure_is_raised_at_the_blocks_end_and_no_more_is_put_away():
    kept = []

    def put_away(item):
        if item == 1:
            raise OSError("disk full")
        kept.append(item)

    with pytest.raises(OSError, match="disk full"):
        give(put_away, range(4), depth=8)
    assert kept == [0]


def test_a_failure_is_raised_by_a_later_call():
    failed, handed = threading.Event(), []

    def put_away(item):
        failed.set()
        raise OSError("disk full")

    def items():
        yield 0
        assert failed.wait(20)
        yield from range(1, 1000)

    with pytest.raises(OSError, match="disk full"):
        give(put_away, items(), handed=handed)
    assert len(handed) < 1000  # at most a few more, until it is known


def test_an_error_of_the_block_itself_comes_through_when_all_is_put_away():
    kept = []
    with pytest.raises(ZeroDivisionError):
        give(kept.append, [1, 2, ZeroDivisionError()])
    assert kept == [1, 2]


def test_what_was_put_away_is_not_held():
    class Strip:
        pass

    seen = []
    with behind(lambda item: None) as hand_over:
        for _ in range(3):
            strip = Strip()
            seen.append(weakref.ref(strip))
            hand_over(strip)
            del strip
    assert [ref() for ref in seen] == [None] * 3
