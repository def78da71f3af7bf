"""Batches as large as memory allows."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from jingwei.errors import SettingError


class FittingBatches:
    """A network that is given as many windows at a time as fit in memory: half as many whenever it ends.

    `network` takes pixels_BCHW and gives probabilities_BCHW. Raises SettingError where not even one window of `side` px
    fits.
    """

    def __init__(self, network: Callable[[np.ndarray], Tensor], side: int):
        self.network, self.side = network, side
        self.most: int | None = None  # windows at a time, once memory has ended

    def __call__(self, pixels_BCHW: np.ndarray) -> Tensor:
        while True:
            most = self.most or len(pixels_BCHW)
            try:
                answers = [self.network(pixels_BCHW[i : i + most]) for i in range(0, len(pixels_BCHW), most)]
                return answers[0] if len(answers) == 1 else torch.cat(answers)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if most == 1:
                    problem = "a single window of that size does not fit in memory"
                    raise SettingError(f"`window` {self.side}", problem, "take a smaller one") from error
            # Out here the error is forgotten, and with it all that was in memory when it came.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.most = -(-min(most, len(pixels_BCHW)) // 2)


def _is_out_of_memory(error: Exception) -> bool:
    said = ("out of memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)
