"""The command line: flags to calls. The only room that parses arguments and prints errors.

Each command is one function that a root script calls. Flags are spelled with `_`, and `-` is taken too. A user's
mistake gives one line and status 2; anything else keeps its traceback, because it is our bug. The heavy rooms (torch,
GDAL) are imported by the commands that need them, so that `-h` answers at once.
"""

from jingwei.cli.cut import generate_test_data_command, generate_train_data_command
from jingwei.cli.doctor import doctor_command
from jingwei.cli.inference import inference_command
from jingwei.cli.maps import evaluate_command, fill_hole_command, vote_command
from jingwei.cli.polygons import polygons_command
from jingwei.cli.predict import predict_command
from jingwei.cli.report import report_command
from jingwei.cli.train import train_command

__all__ = [
    "doctor_command",
    "evaluate_command",
    "fill_hole_command",
    "generate_test_data_command",
    "generate_train_data_command",
    "inference_command",
    "polygons_command",
    "predict_command",
    "report_command",
    "train_command",
    "vote_command",
]
