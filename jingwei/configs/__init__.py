"""Config files of system B: the contest trainer's JSON, read into a recipe, a data set and a place for files.

    python train.py -c configs/gf2_pspnet.json
    python train.py -c configs/gf2_pspnet.json -h       explains every key

Each key is a field of the classes in `sections.py`, and is documented there, once. What a recipe has and the trainer's
JSON has no key for goes into the section `recipe`.
"""

from jingwei.configs.config import Config, config_from_dict, read_config
from jingwei.configs.sections import explain_keys

__all__ = ["Config", "config_from_dict", "explain_keys", "read_config"]
