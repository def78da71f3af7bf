"""Chance without a random stream: hashes, draws and smooth noise that depend on nothing but their arguments."""

from math import floor

from jingwei.system.compiled import compiled


@compiled
def hash_bits(key, i, j):
    """64 well-mixed bits of three integers (multiplications wrap around, as meant)."""
    mixed = key + i * 0x1F123BB59E3779B1 + j * 0x27D4EB2F165667C5
    mixed = (mixed ^ (mixed >> 32)) * 0x2545F4914F6CDD1D
    mixed = (mixed ^ (mixed >> 29)) * 0x1B03738712FAD5C9
    return mixed ^ (mixed >> 32)


@compiled
def share(bits, shift):
    """16 of the bits as a number in [0, 1)."""
    return ((bits >> shift) & 0xFFFF) * (1 / 65536)


@compiled
def draw(key, number, low, high):
    """The key's number-th draw, even between low and high."""
    return low + (high - low) * share(hash_bits(key, number, 0x5EED), 16)


@compiled
def clamp(value):
    return min(max(value, 0.0), 1.0)


@compiled
def mix(first, second, part):
    """A colour between two."""
    keep = 1 - part
    return keep * first[0] + part * second[0], keep * first[1] + part * second[1], keep * first[2] + part * second[2]


@compiled
def scaled(color, light):
    return color[0] * light, color[1] * light, color[2] * light


@compiled
def noise(key, x, y):
    """Two smooth noises in [0, 1) over a lattice of unit cells (value noise)."""
    i, j = int(floor(x)), int(floor(y))
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    a, b = hash_bits(key, i, j), hash_bits(key, i + 1, j)
    c, d = hash_bits(key, i, j + 1), hash_bits(key, i + 1, j + 1)
    wa, wb, wc, wd = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    first = wa * share(a, 0) + wb * share(b, 0) + wc * share(c, 0) + wd * share(d, 0)
    second = wa * share(a, 24) + wb * share(b, 24) + wc * share(c, 24) + wd * share(d, 24)
    return first, second
