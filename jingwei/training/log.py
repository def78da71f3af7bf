"""The log that a training run keeps: `log.csv`, `curves.png`, TensorBoard events, and a line per epoch."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from jingwei.errors import OutputError, SettingError
from jingwei.legend import Legend
from jingwei.raster.preview import natural, painted
from jingwei.system.atomic import write_failure
from jingwei.system.progress import Progress, spell_seconds
from jingwei.training.curves import draw_curves
from jingwei.training.log_file import read_log, write_log

PICTURE_SIDE = 512  # px of a crop shown in TensorBoard
MEANS = ("val_loss", "miou", "miou_with_background", "fwiou", "mean_f1", "kappa", "accuracy")


class TrainingLog:
    """The log of one experiment, a row per epoch. A context manager; `finished` epochs of an earlier run are kept.

    TensorBoard's events go to `events`; to nowhere where that is None. `epochs` is how many the run has in all, for the
    time that is left.
    """

    def __init__(self, folder: Path, finished: int, legend: Legend, events: Path | None, epochs: int = 0):
        self.folder, self.legend, self.epochs = folder, legend, epochs
        earlier = read_log(folder / "log.csv") if finished else []
        self.rows = [row for row in earlier if row["epoch"] <= finished]
        self._earlier = len(self.rows)
        if events and re.search("[\ud800-\udfff]", str(events.absolute())):
            raise SettingError(events, "is not UTF-8, as TensorBoard wants paths", "rename the folder")
        self._folder_of_events = events
        with self._writing_events():
            self.events = SummaryWriter(events, purge_step=finished + 1) if events else None
        self.step_events: SummaryWriter | None = None
        self._begun = time.perf_counter()

    def __enter__(self) -> Self:
        self._usual_hook, threading.excepthook = threading.excepthook, self._note_failed_thread
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            with self._writing_events():
                for events in (self.events, self.step_events):
                    if events:
                        events.close()
        except OutputError:
            if kind is None:  # else what is raised already is what people have to know
                raise
        finally:
            threading.excepthook = self._usual_hook

    @contextlib.contextmanager
    def _writing_events(self) -> Iterator[None]:
        """Makes an OutputError of what the system says where TensorBoard's events can't be written."""
        try:
            yield
        except OSError as error:
            assert self._folder_of_events is not None, "only events are written in there"
            raise write_failure(self._folder_of_events, error) from error

    def _note_failed_thread(self, failed: threading.ExceptHookArgs) -> None:
        """Leaves out the traceback of TensorBoard's thread: the next event raises its OSError once more."""
        if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard")):
            self._usual_hook(failed)

    def add_step(self, step: int, values: dict[str, float]) -> None:
        """Shows the values of a step (counted over all epochs, from 1) in TensorBoard.

        They are a TensorBoard run of their own: steps that come again after a run was resumed are dropped from it, and
        steps are not counted in epochs.
        """
        if not self.events:
            return
        with self._writing_events():
            if not self.step_events:
                self.step_events = SummaryWriter(Path(self.events.log_dir) / "steps", purge_step=step)
            for name, value in values.items():
                self.step_events.add_scalar(name, value, step)

    def add(self, epoch: int, values: dict[str, float], scores: dict) -> None:
        """Adds a row for an epoch: losses and speed, and the scores of its validation; {} where it has none."""
        row = {"epoch": epoch + 1, **{k: float(f"{v:.6g}") for k, v in values.items()}}
        if scores:
            row |= {name: scores[name] for name in MEANS}
            row |= {f"iou {name}": scores["classes"][name]["iou"] for name in self.legend.names}
        row["seconds"] = round(time.perf_counter() - self._begun, 1)
        self._begun = time.perf_counter()
        self.rows.append(row)
        with self._writing_events():
            for name, value in row.items() if self.events else ():
                if value is not None and name != "epoch":
                    self.events.add_scalar(name.replace(" ", "/", 1), value, epoch + 1)
        write_log(self.folder / "log.csv", self.rows)
        draw_curves(self.rows, self.legend, self.folder / "curves.png")
        Progress.write(self._line(row))

    def show(self, epoch: int, crops: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        """Shows crops (pixels_HWC, labels_HW, prediction_HW) as pictures side by side: scene, labels, prediction."""
        for number, (pixels, labels, prediction) in enumerate(crops if self.events else ()):
            step = -(-max(labels.shape) // PICTURE_SIDE)
            every = (slice(None, None, step), slice(None, None, step))
            maps = [painted(each[every], self.legend) for each in (labels, prediction)]
            row = np.concatenate([natural(pixels[every]), *maps], axis=1)
            with self._writing_events():
                self.events.add_image(f"validation/{number + 1}", row, epoch + 1, dataformats="HWC")

    def _line(self, row: dict) -> str:
        number = f"{row['epoch']}/{self.epochs}" if self.epochs else f"{row['epoch']}"
        parts = [f"epoch {number:>5}", f"loss {row.get('loss', np.nan):.4f}", f"lr {row['lr']:.2e}"]
        if row.get("val_loss") is not None:
            parts.append(f"val_loss {row['val_loss']:.4f}")
        if row.get("miou") is not None:
            ious = {name: row[f"iou {name}"] for name in self.legend.names}
            named = ", ".join(f"{name} {'-' if iou is None else f'{iou:.3f}'}" for name, iou in ious.items())
            parts += [f"mIoU {row['miou']:.4f}", f"IoU: {named}"]
        parts += [f"{row['windows_per_s']:.1f} windows/s", f"{row['seconds']:.0f} s"]
        return "  ".join([*parts, f"{spell_seconds(self._left(row))} left"] if row["epoch"] < self.epochs else parts)

    def _left(self, row: dict) -> float:
        """The seconds that the epochs after this one take, if they are like those of this run so far."""
        seconds = [each["seconds"] for each in self.rows[self._earlier :]]
        return (self.epochs - row["epoch"]) * sum(seconds) / len(seconds)
