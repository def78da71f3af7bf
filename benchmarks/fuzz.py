"""Many broken files of all kinds, given to the stages: how many are refused, and whether any does harm.

    python benchmarks/fuzz.py [--count 2000] [--first 0] [--subject "scene PNG" ...]

Each broken file is judged as in tests/road/hostile.py, in a process of its own: a crash of a library, an endless loop
and a hunger for memory are faults too. Prints a line per fault, by whose number `--first N --count 1 --subject NAME`
does it again, and then a table; stopped by Ctrl-C, that of what was done. Ends with status 1 where there are faults.
"""

import argparse
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

from measure import ROOT

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "road")]
import torch  # noqa: E402
from hostile import Base, Verdict, content_of, judge, look, make_base  # noqa: E402
from mutants import mutated  # noqa: E402
from subjects import SUBJECTS  # noqa: E402

SECONDS = 120  # after which a stage hangs
MEMORY = 4 << 30  # bytes that a stage may take beyond what the process has


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="broken files in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first one of each kind")
    parser.add_argument("--subject", nargs="+", choices=tuple(SUBJECTS), default=list(SUBJECTS), metavar="NAME")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    counts: dict[str, Counter] = {}
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as folder:
        judge_all(args.subject, args.first, -(-args.count // len(args.subject)), Path(folder), counts)
    print_table(counts, ("refused", "as it was", "changed", "fault"))
    sys.exit(any(count["fault"] for count in counts.values()))


def judge_all(names: list[str], first: int, each: int, folder: Path, counts: dict[str, Counter]) -> None:
    """Judges `each` broken files of each kind, from number `first` on; adds what came of them to `counts`."""
    base = make_base(folder / "base")
    for name in names:
        look(base, name, folder / "work")
        data = content_of(base, name)
        counts[name] = Counter()
        for seed in range(first, first + each):
            changed = mutated(data, SUBJECTS[name].kind, f"{name} {seed}")
            verdict = judged_apart(base, name, changed, folder / f"work-{seed}")
            counts[name][verdict.word] += 1
            if verdict.fault:
                print(f"{name} {seed}: {verdict.fault}", flush=True)


def judged_apart(base: Base, name: str, data: bytes, folder: Path) -> Verdict:
    """The verdict on a broken file, in a process that may crash, hang or want too much memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries in C say
        have = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (have + MEMORY, have + MEMORY))
        try:
            with open(writing, "wb") as pipe:
                pickle.dump(tuple(judge(base, name, data, folder)), pipe)
        finally:
            os._exit(0)
    os.close(writing)
    begun = time.monotonic()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() - begun > SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Verdict("fault", f"hangs: not done after {SECONDS} s")
        time.sleep(0.01)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    return Verdict(*pickle.loads(told)) if told else Verdict("fault", "the process crashed")


def print_table(counts: dict[str, Counter], words: tuple[str, ...]) -> None:
    """A line per kind of file: how many of its broken ones had which end; and one for all."""
    width = max(map(len, counts))
    print(f"\n{'':{width}} {'files':>9}", *(f"{word:>9}" for word in words))
    for name, count in {**counts, "all": sum(counts.values(), Counter())}.items():
        print(f"{name:{width}} {count.total():9d}", *(f"{count[word]:9d}" for word in words))


if __name__ == "__main__":
    main()
