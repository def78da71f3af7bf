"""Decoded crops, kept for all loader processes of a run: to decode one takes longer than all augmentation.

The memory is the training process's, and its loader processes inherit it: what one has decoded, all have. How much of
it is there changes no window, only how long one takes.
"""

import mmap
import multiprocessing

import numpy as np

from jingwei.crops.table import Crop
from jingwei.training.crop_reader import CropReader

CACHE_BYTES = 1 << 30  # of decoded crops that a machine keeps
ALIGNED = 64  # bytes
DECODED_NOW = -2  # in place of a slot's number: a process is at it
NEVER = -1


class CropCache:
    """Crops, decoded, up to `limit` bytes of them. Its arrays can't be written to.

    What fits first stays: where an epoch takes every crop in turn, those read last are needed last. Only a crop that is
    needed again soon takes the place of one that is not. Where loader processes don't inherit memory (they are
    spawned, not forked), each of the `sharers` has a part to itself.
    """

    def __init__(self, reader: CropReader, crops: list[Crop], limit: int = CACHE_BYTES, sharers: int = 1):
        self.reader, self.crops, self.limit, self.sharers = reader, crops, limit, sharers
        self._memory = np.frombuffer(mmap.mmap(-1, max(1, limit)), np.uint8)
        self._numbers = {crop.name: number for number, crop in enumerate(crops)}
        # Of each slot: where it begins, its bytes, its crop, how many are reading it, when it is last needed.
        table = np.frombuffer(mmap.mmap(-1, max(1, 6 * len(crops)) * 8 + 24), np.int64)
        self._counts, rest = table[:3], table[3:].reshape(6, -1)  # slots, bytes in use, the type of pixels
        self._begins, self._sizes, self._holds, self._readers, self._needed, self._slots = rest
        self._slots[:] = NEVER  # of each crop
        self._lock = multiprocessing.Lock()
        self._reading: list[int] = []  # slots that this process is reading

    def __reduce__(self):
        return CropCache, (self.reader, self.crops, self.limit // self.sharers)

    @property
    def used(self) -> int:
        """Bytes that are in use."""
        return int(self._counts[1])

    def read(self, crop: Crop, now: int = 0, needed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(pixels_HWC in the file's type, labels_HW uint8), to be used until `release`.

        `now` and `needed` are points in the run: that of this window, and that of the last one which is planned of this
        crop for the time being.
        """
        number = self._numbers[crop.name]
        with self._lock:
            slot = int(self._slots[number])
            if slot >= 0:
                self._readers[slot] += 1
                self._needed[slot] = max(needed, self._needed[slot])
        if slot >= 0:
            self._reading.append(slot)
            return self._arrays(slot, crop)
        pixels, labels = self.reader.read(crop)
        pixels.flags.writeable = labels.flags.writeable = False
        self._keep(number, pixels, labels, now, needed)
        return pixels, labels

    def release(self) -> None:
        """Says that this process no longer uses the arrays it has read."""
        if self._reading:
            with self._lock:
                for slot in self._reading:
                    self._readers[slot] -= 1
            self._reading.clear()

    def _arrays(self, slot: int, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and labels of a slot, as views of the memory."""
        height, width, bands = crop.window.height, crop.window.width, len(crop.mean)
        dtype, begin = np.dtype(chr(self._counts[2])), int(self._begins[slot])
        middle = begin + height * width * bands * dtype.itemsize
        pixels = self._memory[begin:middle].view(dtype).reshape(height, width, bands)
        labels = self._memory[middle : middle + height * width].reshape(height, width)
        pixels.flags.writeable = labels.flags.writeable = False
        return pixels, labels

    def _keep(self, number: int, pixels: np.ndarray, labels: np.ndarray, now: int, needed: int) -> None:
        """Puts a crop that was just decoded where others find it, if there is a place for it."""
        with self._lock:
            if self._slots[number] != NEVER:  # another process was quicker
                return
            slot = self._free_slot(pixels.nbytes + labels.nbytes, now, needed)
            if slot is None:
                return
            self._counts[2] = ord(pixels.dtype.char)
            self._holds[slot], self._readers[slot], self._needed[slot] = number, 1, needed
            self._slots[number] = DECODED_NOW
        begin = int(self._begins[slot])
        for part in (pixels, labels):
            self._memory[begin : begin + part.nbytes] = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            begin += part.nbytes
        with self._lock:
            self._slots[number] = slot
            self._readers[slot] -= 1

    def _free_slot(self, size: int, now: int, needed: int) -> int | None:
        """A slot for so many bytes: a new one while there is room, else one whose crop is not needed as soon."""
        count, used, _ = self._counts.tolist()
        size = -(-size // ALIGNED) * ALIGNED
        if used + size <= self.limit and count < len(self.crops):
            self._begins[count], self._sizes[count] = used, size
            self._counts[:2] = count + 1, used + size
            return count
        if needed <= now:
            return None
        free = (self._readers[:count] == 0) & (self._needed[:count] < now) & (self._sizes[:count] >= size)
        places = np.flatnonzero(free)
        if not len(places):
            return None
        slot = int(places[self._needed[places].argmax()])  # the last one done with: the first ones stay
        self._slots[self._holds[slot]] = NEVER
        return slot
