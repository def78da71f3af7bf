"""Folders of samples again, and after a stop: nothing done twice, and the same bytes in any way."""

from dataclasses import replace

import pytest
import rasterio
from nearest import SMALL, Nearest, fields, files_of, run, write_optical, write_radar

from jingwei.errors import OutputError
from jingwei.legend import GF2, GF3
from jingwei.prediction.annotation_xml import Annotation
from jingwei.prediction.folder import infer
from jingwei.prediction.folder_items import Inference
from jingwei.raster.png import PngWriter

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def test_what_is_finished_is_not_done_again(tmp_path, optical, folder):
    weights, network = optical
    run(folder, tmp_path / "out", weights)
    before = files_of(tmp_path / "out")

    def again(settings=SMALL, **how) -> tuple[int, int]:
        network.shapes.clear()
        outcome = run(folder, tmp_path / "out", weights, settings, **how)
        assert bool(network.shapes) == bool(outcome.written)
        return outcome.written, outcome.kept

    assert again() == (0, 5)
    assert files_of(tmp_path / "out") == before
    (tmp_path / "out" / "3.xml").unlink()
    assert again() == (0, 5)
    assert files_of(tmp_path / "out") == before
    assert again(annotation=Annotation(author="me")) == (0, 5)
    changed = files_of(tmp_path / "out")
    assert b"<author>me</author>" in changed["0.xml"]
    assert {name for name in before if before[name] != changed[name]} == {f"{n}.xml" for n in range(5)}
    (tmp_path / "out" / "3_gt.png").unlink()
    assert again() == (1, 4)
    (tmp_path / "out" / "3_gt.png").write_bytes(before["3_gt.png"][:-20])  # broken by somebody else
    write_optical(folder / "1.tif", fields(100, 90, len(GF2)))
    assert again()[0] in (1, 2)  # whether its text can still be read is GDAL's affair
    assert again(ids=True) == (5, 0)
    assert again(ids=True, workers=3) == (0, 5)
    assert again(replace(SMALL, tta="flips")) == (5, 0)


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path, optical, folder, monkeypatch):
    weights, network = optical
    run(folder, tmp_path / "whole", weights, ids=True)
    windows = len(network.shapes)
    for stop_at in (1, windows // 2, windows):
        target = tmp_path / f"stopped{stop_at}"
        calls = []

        def stopping(self, pixels, calls=calls, stop_at=stop_at):
            calls.append(1)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return Nearest.forward(self, pixels)

        with monkeypatch.context() as patch:
            patch.setattr(Nearest, "__call__", stopping)
            with pytest.raises(KeyboardInterrupt):
                infer(Inference(folder, target, weights, SMALL, device="cpu", ids=True))
        done = len(list(target.glob("*_gt.png")))
        assert (target / ".inference").is_dir()
        network.shapes.clear()
        outcome = run(folder, target, weights, ids=True)
        assert (outcome.kept, outcome.written) == (done, 5 - done)
        assert len(network.shapes) <= windows - stop_at + 4  # finished bands are not computed again
        assert files_of(target) == files_of(tmp_path / "whole")


def test_pictures_of_samples_with_a_georeference_say_where_they_lie(tmp_path, optical):
    place = {"crs": "EPSG:32650", "transform": rasterio.transform.from_origin(500000, 4000000, 0.8, 0.8)}
    write_optical(tmp_path / "in" / "1.tif", fields(90, 70, len(GF2)), **place)
    write_optical(tmp_path / "in" / "2.tif", fields(90, 70, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", optical[0], ids=True)
    for name in ("1_gt.png", "1_label.png"):
        with rasterio.open(tmp_path / "out" / name) as written:
            assert (written.crs, written.transform) == (place["crs"], place["transform"])
    beside = {"1_gt.pgw", "1_gt.png.aux.xml", "1_label.pgw", "1_label.png.aux.xml"}
    assert set(files_of(tmp_path / "out")) == beside | {
        f"{n}{end}" for n in (1, 2) for end in (".xml", "_gt.png", "_label.png")
    }
    write_optical(tmp_path / "in" / "1.tif", fields(90, 70, len(GF2)))
    run(tmp_path / "in", tmp_path / "out", optical[0], ids=True)
    assert not beside & set(files_of(tmp_path / "out"))


def test_links_where_unfinished_samples_lie_are_not_followed(tmp_path, optical, folder):
    victim = tmp_path / "elsewhere"
    victim.mkdir()
    (victim / "0.tif").write_text("precious")
    work = tmp_path / "out" / ".inference"
    work.mkdir(parents=True)
    (work / "maps").symlink_to(victim)
    run(folder, tmp_path / "out", optical[0])
    assert files_of(victim) == {"0.tif": b"precious"}


def test_the_number_of_workers_and_of_windows_at_a_time_change_nothing(tmp_path, radar):
    for seed, shape in enumerate([(300, 140), (520, 90), (30, 20)]):
        write_radar(tmp_path / "in", str(seed), fields(*shape, len(GF3), seed))
    results = []
    for workers, batch_size in ((1, 1), (4, 1), (2, 3)):
        target = tmp_path / f"out{workers}"
        run(tmp_path / "in", target, radar[0], workers=workers, batch_size=batch_size, ids=True)
        results.append(files_of(target))
    assert results[0] == results[1] == results[2]


def test_a_second_run_into_the_same_folder_says_so(tmp_path, optical, folder, monkeypatch):
    weights, _ = optical
    write_optical(tmp_path / "others" / "9.tif", fields(30, 40, len(GF2)))
    told = []

    def forward(self, pixels):
        if not told:
            told.append(1)
            with pytest.raises(OutputError, match="another run is writing it"):
                infer(Inference(tmp_path / "others", tmp_path / "out", weights, SMALL, device="cpu"))
        return Nearest.forward(self, pixels)

    monkeypatch.setattr(Nearest, "__call__", forward)
    assert run(folder, tmp_path / "out", weights).written == 5


def test_a_full_disk_is_no_fault_of_a_sample(tmp_path, optical, folder, monkeypatch):
    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PngWriter, "write", full)
    with pytest.raises(OutputError, match="_gt.png: can't be written .No space left"):
        infer(Inference(folder, tmp_path / "out", optical[0], SMALL, device="cpu"))
    assert not list((tmp_path / "out").glob("*_gt.png"))
