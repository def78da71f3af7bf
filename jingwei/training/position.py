"""Where a training run is: its position, and what the epoch in progress has added up so far."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Position:
    """Epochs that are done and scored, and steps done in the next one."""

    epoch: int = 0
    step: int = 0


@dataclass
class EpochSums:
    """What an epoch in progress has added up: the values of its good steps, and the time and windows of all."""

    totals: dict[str, float] = field(default_factory=dict)
    lr: float = 0.0
    steps: int = 0
    windows: int = 0
    seconds: float = 0.0

    def add(self, values: dict[str, float]) -> None:
        """Adds the values of a good step."""
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + value
        self.lr = values["lr"]
        self.steps += 1

    def row(self) -> dict[str, float]:
        """The epoch as a row of the log: the last learning rate, the means of all else, and the speed."""
        means = {name: total / max(self.steps, 1) for name, total in self.totals.items()}
        return means | {"lr": self.lr, "windows_per_s": self.windows / max(self.seconds, 1e-9)}
