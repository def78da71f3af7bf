"""What a reader does with the page: the first view, odd names, links to a view, coordinates, files."""

import shutil

import numpy as np
import pytest
from report_page import HEIGHT, WIDTH, Opened, assert_color

from jingwei.grid import Window
from jingwei.legend import JINGWEI, NODATA
from jingwei.raster.png import write_png
from jingwei.raster.stamps import SCORE
from jingwei.raster.writing import TiledWriter
from jingwei.reporting.report import write_report
from jingwei.workspace import Workspace

SIDE = 300


def write_map(path, labels, **settings) -> None:
    with TiledWriter(path, *labels.shape, nodata=NODATA, **settings) as writer:
        writer.write(Window(0, 0, *labels.shape), labels.astype(np.uint8))


def small_world(root, name: str = "image_3", number: str = "3") -> tuple[Workspace, np.ndarray]:
    """A grey cut scene: (project, labels of two fields)."""
    workspace = Workspace(root)
    with TiledWriter(root / "test" / f"image{number}" / f"{name}.tif", SIDE, SIDE, bands=3) as writer:
        writer.write(Window(0, 0, SIDE, SIDE), np.full((3, SIDE, SIDE), 120, np.uint8))
    labels = np.full((SIDE, SIDE), 1)
    labels[:, 150:] = 2
    return workspace, labels


def shown(chromium, workspace: Workspace, command: str = "python report.py", **settings) -> Opened:
    scenes = workspace.cut_scenes() if (workspace.root / "test").exists() else []
    write_report(workspace, scenes, JINGWEI, workspace.root / "report", command=command)
    return Opened(chromium, workspace.root / "report", **settings)


def figures(page) -> dict[str, str]:
    """The first line's figures by their names."""
    return dict(page.eval_on_selector_all("#figures div", "all => all.map((e) => [e.children[0].textContent, "
                                          "e.querySelector('b').textContent])"))  # fmt: skip


# ---- how good, and where it is wrong ----


def test_with_labels_the_first_line_says_how_good(chromium, tmp_path):
    workspace, truth = small_world(tmp_path)
    scene = workspace.cut_scenes()[0]
    write_png(workspace.root / "truth" / "image_3_label.png", truth.astype(np.uint8))
    wrong = truth.copy()
    wrong[:30, 150:] = 1
    for name, labels, score in (("swa_a", truth, 0.7), ("unet_b", wrong, 0.61234)):
        write_map(workspace.masks(scene) / f"{name}.tif", labels, tags={SCORE: score})
    write_map(workspace.filled(scene), wrong)
    opened = shown(chromium, workspace)
    page = opened.page
    # Of corn 15 * 300 of 150 * 300 px are taken for tobacco.
    corn, tobacco = 0.9, 1 / 1.1
    assert figures(page) == {"mIoU": f"{(corn + tobacco) / 2:.3f}", "Accuracy": "95.0 %", "Weakest class": "corn"}
    assert page.inner_text("#better") == "An earlier stage scored higher: swa_a 1.0000, the delivered map 0.9045."
    assert "corn taken for cured tobacco" in page.inner_text("#worst li:first-child")
    assert page.is_hidden("#next-step")
    made = page.inner_text("#made")
    assert "Map: filled" in made
    assert "Models: 2" in made
    page.click("#how-made summary")
    assert "unet_b validation mIoU 0.6123" in page.inner_text("#how-made-list")
    assert "python report.py" in page.inner_text("#how-made-list")
    opened.assert_clean()


def test_without_a_higher_stage_there_is_no_warning(chromium, tmp_path):
    workspace, truth = small_world(tmp_path)
    scene = workspace.cut_scenes()[0]
    write_png(workspace.root / "truth" / "image_3_label.png", truth.astype(np.uint8))
    write_map(workspace.masks(scene) / "swa_a.tif", truth)
    write_map(workspace.vote(scene), truth)
    page = shown(chromium, workspace).page
    assert page.is_hidden("#better")
    assert page.inner_text("#places-note") == "No region is wrong."


def test_one_model_without_truth_gets_the_commands_that_tell_more(chromium, tmp_path):
    workspace, labels = small_world(tmp_path / "my data")
    write_map(workspace.masks(workspace.cut_scenes()[0]) / "swa_a.tif", labels)
    opened = shown(chromium, workspace, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    assert figures(page) == {"mIoU": "Not scored", "How sure?": "–"}
    where = f"--data_dir '{workspace.root}'"
    assert f"python evaluate.py --sample {where}" in page.inner_text("#next-step")
    assert page.inner_text("#places-title") == "How sure?"
    assert f"python predict.py {where}" in page.inner_text("#places-note")
    assert "vote.py" not in page.inner_text("#places-note")  # of one model
    assert page.is_hidden("#worst")
    page.click("#places-note button")
    assert page.evaluate("() => navigator.clipboard.readText()") == f"python predict.py {where}"
    assert opened.complaints == []


@pytest.mark.parametrize("program", ["jingwei", "python -m jingwei"])
def test_a_report_of_the_one_command_names_its_steps(chromium, tmp_path, program):
    workspace, _ = small_world(tmp_path / "report jingwei")
    page = shown(chromium, workspace, f"{program} report --data_dir '{workspace.root}'").page
    where = f"--data_dir '{workspace.root}'"
    assert f"{program} train --train --exp NAME {where}" in page.inner_text("#next-step")
    assert f"{program} predict {where}" in page.inner_text("#places-note")
    page = shown(chromium, workspace, f"python report.py --data_dir '{workspace.root}'").page
    assert f"python predict.py {where}" in page.inner_text("#places-note")


@pytest.mark.parametrize(("layer", "title", "hint"), [
    ("confidence", "Mean confidence", "confidence 20 %"),
    ("agreement", "Mean agreement", "20 % agree"),
    ("certainty", "Mean certainty", "certainty 20 %"),
])  # fmt: skip
def test_without_truth_the_page_leads_to_where_the_map_is_least_sure(chromium, tmp_path, layer, title, hint):
    workspace, labels = small_world(tmp_path)
    scene = workspace.cut_scenes()[0]
    write_map(workspace.masks(scene) / "swa_a.tif", labels)
    sure = np.full((SIDE, SIDE), 100)
    sure[100:200, 100:200] = 20
    places = {
        "confidence": workspace.masks(scene) / "confidence" / "swa_a.tif",
        "agreement": workspace.agreement(scene), "certainty": workspace.entropy(scene),
    }  # fmt: skip
    write_map(places[layer], 100 - sure if layer == "certainty" else sure)
    if layer == "confidence":
        write_map(places["agreement"], labels)  # says less
    opened = shown(chromium, workspace)
    page, share = opened.page, 100 * 100 / SIDE**2
    assert figures(page) == {title: f"{100 - 80 * share:.1f} %", "Below 60 %": f"{100 * share:.1f} %",
                             "mIoU": "Not scored"}  # fmt: skip
    assert page.inner_text("#places-title") == "Least sure places"
    assert page.inner_text("#worst li:first-child") == hint.replace("20", "20.0")
    page.click("#worst li:first-child button")
    page.wait_for_timeout(700)
    opened.settle()
    row, col = page.evaluate("() => pointer.at(null) || Object.values(pointer.place())")
    assert 100 <= row < 200
    assert 100 <= col < 200
    page.wait_for_function("() => document.getElementById('readout').textContent.includes('20 %')", timeout=5000)
    page.click("#zoom-home")
    page.wait_for_timeout(700)
    opened.settle()
    inside, outside = opened.colors((150, 120), (50, 120))
    assert max(inside) < max(outside) - 40  # dark where it is not sure
    opened.assert_clean()


def test_scenes_without_maps_and_networks_without_scenes(chromium, tmp_path):
    workspace, _ = small_world(tmp_path)
    page = shown(chromium, workspace).page
    assert figures(page) == {"Map report": "No map yet", "Best validation mIoU": "No network yet"}
    assert "train.py --train" in page.inner_text("#next-step")
    assert "python predict.py" in page.inner_text("#places-note")
    log = workspace.experiment("swa", "one") / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,loss,miou\n1,1.5,0.2\n2,0.8,0.51239\n3,0.6,0.5\n")
    page = shown(chromium, workspace).page
    assert "python predict.py" in page.inner_text("#next-step")
    shutil.rmtree(workspace.root / "test")
    opened = shown(chromium, workspace)
    page = opened.page
    assert figures(page) == {"Best validation mIoU": "0.512"}
    assert page.inner_text("#figures small") == "swa/one, epoch 2"
    assert page.is_hidden("#look")
    assert page.is_hidden("#scores")
    assert page.is_visible("#training")
    assert opened.complaints == []


def test_a_report_in_the_language_that_was_asked_for(chromium, voted, tmp_path):
    write_report(voted, [], JINGWEI, tmp_path / "report", language="zh")
    report = Opened(chromium, tmp_path / "report")
    assert report.page.inner_text("h1").strip() == "制图报告"  # whatever the reader's own is
    assert report.complaints == []


# ---- names ----

NAMES = ["image_#1", "image_?", "image_%25", "image_a&b=c+d", "影像", "image_" + "x" * 239, "image_constructor"]


def test_any_name_shows_tiles_and_curves(chromium, tmp_path):
    for number, name in enumerate(NAMES):
        workspace, labels = small_world(tmp_path, name, str(number))
        scene = next(scene for scene in workspace.cut_scenes() if scene.name == name)
        write_map(workspace.masks(scene) / "constructor.tif", labels)
        write_map(workspace.masks(scene) / "__proto__.tif", labels)
    write_png(workspace.root / "truth" / "image_#1_label.png", labels.astype(np.uint8))
    for recipe, exp in (("__proto__", "constructor"), ("toString", "__proto__"), ("a#?%25", "影像")):
        log = workspace.experiment(recipe, exp) / "log.csv"
        log.parent.mkdir(parents=True)
        log.write_text("epoch,loss,miou\n1,1.5,0.2\n2,0.8,0.5\n")
    opened = shown(chromium, workspace)
    page = opened.page
    options = page.eval_on_selector_all("#scene option", "all => all.map((e) => e.textContent.split(' (')[0])")
    assert sorted(options) == sorted(NAMES)
    for position in range(len(NAMES)):
        page.select_option("#scene", index=position)
        opened.settle()
        page.evaluate("() => { look.shown.errors = false; panel.writeLayers(); look.apply(); }")
        opened.settle()
        (left,) = opened.colors((100, 100))
        assert_color(left, (173, 130, 42))  # tobacco at 65 % over the grey scene
    head = page.inner_text("#stage-table thead")
    assert "constructor" in head
    assert "__proto__" in head
    assert page.locator("#charts svg[role=img]").first.locator("circle").count() == 6
    for name in ("__proto__/constructor", "toString/__proto__", "a#?%25/影像"):
        assert name in page.inner_text("#experiment-table")
    page.select_option("#stage", label="__proto__")
    assert page.inner_text("#confusion-table tbody tr:nth-child(2) td:nth-child(3)") == "100.0"
    opened.assert_clean()


def test_classes_of_any_name(chromium, tmp_path):
    from jingwei.legend import LandClass, Legend

    names = ["__proto__", "constructor", "<b>", "long class name"]
    legend = Legend("own", tuple(LandClass(i, name, (50 * i, 90, 200)) for i, name in enumerate(names)), None)
    workspace, labels = small_world(tmp_path)
    write_map(workspace.masks(workspace.cut_scenes()[0]) / "swa_a.tif", labels)
    write_png(workspace.root / "truth" / "image_3_label.png", labels.astype(np.uint8))
    log = workspace.experiment("swa", "a") / "log.csv"
    log.parent.mkdir(parents=True)
    log.write_text("epoch,loss,miou,iou __proto__,iou constructor\n1,1,0.2,0.3,0.4\n2,1,0.2,0.3,0.4\n")
    write_report(workspace, workspace.cut_scenes(), legend, workspace.root / "report")
    opened = Opened(chromium, workspace.root / "report", "zh-CN")
    for table in ("#confusion-table", "#class-table", "#area-table"):
        heads = opened.page.eval_on_selector_all(f"{table} tbody th", "all => all.map((e) => e.textContent.trim())")
        assert heads[:4] == names
    assert opened.page.locator("#class-charts circle").count() == 4
    opened.assert_clean()


# ---- links, coordinates, files ----


def test_a_link_leads_to_the_same_view(chromium, tmp_path):
    for number in "34":
        workspace, labels = small_world(tmp_path, f"image_{number} #{number}", number)
        scene = workspace.cut_scenes()[-1]
        write_map(workspace.masks(scene) / "swa_a.tif", labels)
    opened = shown(chromium, workspace, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    page.select_option("#scene", label="image_4 #4")
    opened.settle()
    opened.zoom_to(40, 210, 80)
    page.fill("#opacity-map", "40")
    page.uncheck("#class-1")
    page.uncheck("#show-scene")
    opened.settle()
    page.click("#copy-link")
    url = page.evaluate("() => navigator.clipboard.readText()")
    assert url == page.url
    zoom = page.evaluate("() => look.zoom()")
    assert "scene=image_4%20%234&at=40.0,210.0&" in url
    again = Opened(chromium, workspace.root / "report", hash="#" + url.split("#", 1)[1])
    assert again.page.input_value("#scene") == "1"
    x, y = again.center(39.5, 209.5)
    box = again.page.locator("#viewer").bounding_box()
    assert abs(x - box["x"] - box["width"] / 2) < 2
    assert abs(y - box["y"] - box["height"] / 2) < 2
    assert again.page.evaluate("() => look.zoom()") == pytest.approx(zoom, rel=1e-3)
    assert again.page.input_value("#opacity-map") == "40"
    assert [again.page.is_checked(f"#{box}") for box in ("class-1", "class-2", "show-scene", "show-map")] == [
        False, True, False, True]  # fmt: skip
    # Another link, followed in the page that is open.
    hash = "#scene=image_3%20%233&at=100,100&zoom=4&layers=scene:100,map:80&off=&compare=scene,map,25"
    again.page.evaluate("(hash) => { location.hash = hash; }", hash)
    again.page.wait_for_function("() => look.scene.name === 'image_3 #3'")
    again.settle()
    assert again.page.get_attribute("#divider", "aria-valuenow") == "25"
    assert again.page.evaluate("() => look.zoom()") == pytest.approx(4, rel=1e-3)
    again.assert_clean()


@pytest.mark.parametrize("hash", [
    "#scene=nosuch&at=a,b&zoom=-1&layers=x:y,map:900&off=99,z&compare=map", "#scene=image_3&at=1&zoom=1e9",
    "#tables", "#%",
    "#scene=image_3&layers=&compare=__proto__,constructor,5", "#scene=__proto__",
])  # fmt: skip
def test_links_that_make_no_sense_do_no_harm(chromium, voted, hash):
    opened = Opened(chromium, voted.root / "report", hash=hash)
    assert opened.page.evaluate("() => look.scene.name") == "image_3"
    assert opened.page.evaluate("() => look.zoom()") < 1
    assert opened.complaints == []


def test_going_to_a_row_and_column(opened):
    page = opened.page
    for text in ("700, 40", "row 700, column 40", "r700 c40"):
        page.click("#zoom-home")
        page.fill("#goto-text", text)
        page.press("#goto-text", "Enter")
        opened.settle()
        assert page.evaluate("() => pointer.place()") == {"row": 700, "col": 40}
        page.wait_for_function("() => document.getElementById('readout').textContent.includes('row 700')", timeout=5000)
    for text, problem in (("here", "Write two numbers."), ("1 2 3", "Write two numbers."),
                          (f"{HEIGHT}, 0", "That is outside the scene."), (f"0, {WIDTH}", "That is outside the scene."),
                          ("-1, 5", "That is outside the scene.")):  # fmt: skip
        page.fill("#goto-text", text)
        page.click("#goto button")
        assert page.inner_text("#goto-note") == problem
    page.keyboard.press("Escape")
    page.focus("#compare")
    page.keyboard.press("g")
    assert page.evaluate("() => document.activeElement.id") == "goto-text"


def test_coordinates_on_the_ground_are_copied_and_gone_to(chromium, tmp_path):
    import rasterio

    workspace, labels = small_world(tmp_path)
    path = workspace.root / "test" / "image3" / "image_3.tif"
    path.unlink()
    profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": 3, "dtype": "uint8", "tiled": True,
               "blockxsize": 256, "blockysize": 256, "crs": "EPSG:32648",
               "transform": rasterio.Affine(0.3, 0.4, 500_000, 0.4, -0.3, 3_000_000)}  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.full((3, SIDE, SIDE), 90, np.uint8))
    opened = shown(chromium, workspace, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    x, y = 500_000 + 0.3 * 60.5 + 0.4 * 200.5, 3_000_000 + 0.4 * 60.5 - 0.3 * 200.5
    page.fill("#goto-text", f"{x:.2f}, {y:.2f}")
    page.press("#goto-text", "Enter")
    opened.settle()
    assert page.evaluate("() => pointer.place()") == {"row": 200, "col": 60}
    page.click("#copy-place")
    assert page.evaluate("() => navigator.clipboard.readText()") == f"{x:.2f}, {y:.2f}"
    assert page.inner_text("#copy-place") == "Copied"
    page.fill("#goto-text", "row 20, column 30")
    page.press("#goto-text", "Enter")
    assert page.evaluate("() => pointer.place()") == {"row": 20, "col": 30}
    page.fill("#goto-text", "120 130")  # not on this ground, but in this scene
    page.press("#goto-text", "Enter")
    assert page.evaluate("() => pointer.place()") == {"row": 120, "col": 130}
    page.mouse.move(*opened.center(121, 131))
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("x")
    page.wait_for_timeout(200)
    at = 500_000 + 0.3 * 131.5 + 0.4 * 121.5
    assert page.evaluate("() => navigator.clipboard.readText()").startswith(f"{at:.2f}, ")
    opened.assert_clean()


def test_links_lead_to_the_files(chromium, tmp_path):
    workspace, labels = small_world(tmp_path, "image_#1 %25 影", "5")
    scene = workspace.cut_scenes()[0]
    write_map(workspace.masks(scene) / "swa_a.tif", labels)
    for path in (workspace.polygons(scene, ".gpkg"), workspace.submission(scene)):
        path.parent.mkdir()
        path.touch()
    opened = shown(chromium, workspace)
    links = opened.page.eval_on_selector_all("#file-list a", "all => all.map((e) => [e.textContent, e.href])")
    assert [text for text, _ in links] == [
        "../test/image5/image_#1 %25 影.tif", f"../{workspace.masks(scene).relative_to(tmp_path)}/swa_a.tif",
        "../submit/image_#1 %25 影_predict.png", "../polygons/image_#1 %25 影.gpkg",
    ]  # fmt: skip
    from urllib.parse import unquote, urlsplit

    assert all(urlsplit(href).fragment == urlsplit(href).query == "" for _, href in links)
    for (_, href), path in zip(links, [scene.image, workspace.masks(scene) / "swa_a.tif", workspace.submission(scene),
                                       workspace.polygons(scene, ".gpkg")], strict=True):  # fmt: skip
        assert unquote(urlsplit(href).path) == str(path)
