"""Whole numbers packed 7 bits a byte, the lowest first, the top bit set where more follow (LEB128)."""

import numpy as np

from jingwei.system.compiled import compiled


@compiled
def put_varint(room, at, value):
    """Packs a number from 0 up into bytes (uint8) from place `at` on; returns the next place."""
    while value > 127:
        room[at] = value & 127 | 128
        value >>= 7
        at += 1
    room[at] = value
    return at + 1


@compiled
def get_varint(room, at):
    """Reads a packed number: (int64, the next place)."""
    value = np.int64(room[at])
    at += 1
    if value > 127:
        value &= 127
        shift = 7
        while True:
            part = np.int64(room[at])
            at += 1
            value |= (part & 127) << shift
            if part < 128:
                break
            shift += 7
    return value, at
