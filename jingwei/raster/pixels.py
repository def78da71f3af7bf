"""Pixel values in the types of files."""

import numpy as np


def as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values in a file's type, rounded where that has whole numbers only."""
    return (values if np.issubdtype(dtype, np.floating) else np.round(values)).astype(dtype)
