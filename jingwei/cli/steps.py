"""The steps of the road, in order: what each is called as a script, as `jingwei STEP`, and what it does."""

from typing import NamedTuple


class Step(NamedTuple):
    """A step: `jingwei NAME`, the script that does the same, a line about it, and the function, with its recipe."""

    name: str
    script: str
    about: str
    function: str
    recipe: str = ""


STEPS = (
    Step("sample", "data/make_sample.py", "make sample scenes, to try all of this on", "sample:sample_command"),
    Step("doctor", "doctor.py", "look at a data folder before a long job", "doctor:doctor_command"),
    Step(
        "generate-train-data",
        "generate_train_data.py",
        "1 cut: labelled scenes into crops to train on",
        "cut:generate_train_data_command",
    ),
    Step(
        "generate-test-data",
        "generate_test_data.py",
        "1 cut: test scenes into tiled GeoTIFFs",
        "cut:generate_test_data_command",
    ),
    Step(
        "train",
        "train.py",
        "2 train: DeepLabV3, cross entropy; or a config file",
        "train:train_command",
        "CROSS_ENTROPY",
    ),
    Step(
        "train-focalloss", "train_focalloss.py", "2 train: focal and Lovász loss", "train:train_command", "FOCAL_LOVASZ"
    ),
    Step("train-swa", "train_swa.py", "2 train: averaged weights of cosine cycles", "train:train_command", "SWA"),
    Step(
        "train-multiscale", "train_multiscale.py", "2 train: windows of two sizes", "train:train_command", "MULTISCALE"
    ),
    Step(
        "train-unet", "Unet_resnet34/train.py", "2 train: U-Net with attention", "train:train_command", "ATTENTION_UNET"
    ),
    Step("predict", "predict.py", "3 predict and stitch", "predict:predict_command"),
    Step("vote", "vote.py", "4 vote: the majority of several maps", "vote:vote_command"),
    Step("fill-hole", "fill_hole.py", "5 fill holes, join small regions to neighbours", "fill:fill_hole_command"),
    Step("evaluate", "evaluate.py", "6 score maps against labels; areas", "evaluate:evaluate_command"),
    Step("report", "report.py", "7 look: a report for any browser", "report:report_command"),
    Step("label", "label.py", "label where it teaches most, round by round", "label:label_command"),
    Step("polygons", "polygons.py", "8 hand over: maps as polygons", "polygons:polygons_command"),
    Step("export", "export.py", "8 hand over: a network as ONNX, for QGIS and others", "export:export_command"),
    Step(
        "sample-gf",
        "data/make_gf_sample.py",
        "system B: make sample scenes, optical and radar",
        "sample:sample_gf_command",
    ),
    Step("inference", "inference.py", "system B: predict folders of samples", "inference:inference_command"),
)


def step_of(script: str) -> Step | None:
    """The step that a script does; Unet_resnet34/predict.py is predict.py."""
    script = {"Unet_resnet34/predict.py": "predict.py"}.get(script, script)
    return next((step for step in STEPS if step.script == script), None)
