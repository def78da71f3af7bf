"""Files of weights in tests: read, and put into networks."""

from jingwei.models.pretrained import put
from jingwei.models.weights import read_file


def read_tensors(path) -> dict:
    return read_file(path).tensors


def load_weights(model, path, bands=()) -> int:
    """How many tensors of a file fit into a network for data of these bands."""
    fitting, _ = put(model, read_file(path), bands)
    return fitting
