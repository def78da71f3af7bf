"""Which windows are predicted where only a part of a scene is: groups of neighbours, spread over all of it.

A pixel of a part is settled where all windows that reach it are predicted; there it gets what the whole map has. A lone
window settles its middle, where no other reaches; of neighbours, all that lies between them is settled too. So windows
go in groups, just so large that each settles LEAST px a side.
"""

from jingwei.grid import far_apart

LEAST = 512  # px a side that a group settles at least: room for a place to label of 256 px, wherever its grid lies

Axis = tuple[list[int], int]  # the first pixels of an axis' windows, and its length


def spread_windows(rows: Axis, cols: Axis, size: int, share: float) -> frozenset[tuple[int, int]]:
    """(row, column) in the grid of windows of `size` px, of about a `share` of them; one group at least.

    The windows of a smaller share are among those of a larger one.
    """
    bands, columns = (_groups(*axis, size) for axis in (rows, cols))
    wanted = share * len(rows[0]) * len(cols[0])
    chosen: set[tuple[int, int]] = set()
    for i, j in far_apart(len(bands), len(columns)):
        group = {(row, col) for row in bands[i] for col in columns[j]} - chosen
        if chosen and len(chosen) + len(group) / 2 > wanted:
            return frozenset(chosen)
        chosen |= group
        if len(chosen) == len(rows[0]) * len(cols[0]):
            return frozenset(chosen)
    raise AssertionError("places have no end")


def _groups(starts: list[int], length: int, size: int) -> list[range]:
    """The windows of an axis in groups of neighbours, as many as settle LEAST px each, but one at least."""
    ends = [0, *(start + size for start in starts)]  # of what the window before each one covers
    begins = [*starts, length]

    def settled(first: int, count: int) -> int:
        return begins[first + count] - ends[first]

    windows = len(starts)
    for count in range(1, windows):
        groups = windows // count
        edges = [windows * k // groups for k in range(groups + 1)]
        if all(settled(first, end - first) >= LEAST for first, end in zip(edges, edges[1:], strict=False)):
            return [range(first, end) for first, end in zip(edges, edges[1:], strict=False)]
    return [range(windows)]
