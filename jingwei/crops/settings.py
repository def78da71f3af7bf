"""How scenes are cut."""

from dataclasses import dataclass

from jingwei.errors import SettingError


@dataclass(frozen=True)
class CutSettings:
    """How training scenes are cut: sides in px, shares 0 to 1."""

    crop_size: int = 1024
    stride: int = 1024
    val_fraction: float = 0.2
    keep_background: float = 0.1

    def check(self) -> "CutSettings":
        """The settings themselves, or a SettingError."""
        if self.crop_size < 32 or not 0 < self.stride <= self.crop_size:
            problem = f"{self.crop_size} with `stride` {self.stride}"
            raise SettingError("`crop_size`", problem, "take 32 px or more, and a stride up to that")
        for name in ("val_fraction", "keep_background"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"`{name}`", f"is {getattr(self, name)}", "take a share between 0 and 1")
        return self
