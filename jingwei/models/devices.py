"""Which device computes, and in which arithmetic."""

import torch

from jingwei.errors import SettingError, known

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def find_device(name: str) -> torch.device:
    """`auto` (the GPU where there is one), `cpu`, `cuda`, `cuda:1`. SettingError for one that isn't there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise SettingError(f"`device` {name}", f"not usable ({reason})", "take auto, cpu, cuda or cuda:0") from error
    return device


def gpu_count() -> int:
    """GPUs of this machine that torch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """The arithmetic of a network's convolutions: `auto` takes bf16 where the device has it in hardware.

    SettingError for an unknown one, and for fp16 on a CPU.

    Measured on an AVX-512 CPU with bf16: training is about twice as fast as in fp32. fp16 is for GPUs only.
    """
    if name == "fp16" and device.type == "cpu":
        raise SettingError("`precision` fp16", "CPUs have no fast fp16", "take auto, bf16 or fp32")
    if name != "auto":
        if name not in _TYPES:
            raise SettingError(f"`precision` {name}", "no such arithmetic", known(["auto", *_TYPES], name))
        return _TYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if device.type == "cpu" and has_bf16() else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """The context in which a network runs in `precision`."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def to_device(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Pixels as networks take them: float32, channels last, on their device."""
    return pixels.to(device, non_blocking=True).float().contiguous(memory_format=torch.channels_last)
