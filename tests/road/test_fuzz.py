"""Files of all kinds, broken at random, given to the stages: the right pixels or one line, and never a traceback.

`benchmarks/fuzz.py` does the same at length.
"""

import pytest
from hostile import content_of, judge, make_base
from mutants import mutated
from subjects import SUBJECTS

SEEDS = range(3)
FOUND = {  # by subject: the seeds of mutants that were faults once, found by benchmarks/fuzz.py
    "map": (5012,),
    "scene PNG, crafted": (22013, 25040, 25063),
    "VRT": (25052,),
    "GeoJSON": (30027,),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("fuzz") / "base")


def faults(base, name: str, seeds, folder) -> dict[int, str]:
    """Seed of a mutant -> what was wrong."""
    data, kind = content_of(base, name), SUBJECTS[name].kind
    verdicts = {seed: judge(base, name, mutated(data, kind, f"{name} {seed}"), folder) for seed in seeds}
    return {seed: verdict.fault for seed, verdict in verdicts.items() if verdict.fault}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", [name for name, subject in SUBJECTS.items() if not subject.slow])
def test_a_broken_file_gives_the_right_pixels_or_one_line(base, name, tmp_path, one_thread):
    assert not faults(base, name, [*SEEDS, *FOUND.get(name, ())], tmp_path / "w")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_forty_broken_files_of_each_kind(base, name, tmp_path, one_thread):
    assert not faults(base, name, range(3, 43), tmp_path / "w")
