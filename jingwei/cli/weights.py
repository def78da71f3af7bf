"""The flags that say which weights a training starts from: of both systems."""

import argparse

from jingwei.cli.parser import Parser
from jingwei.cli.wording import as_flags


def weights_flags(parser: Parser) -> None:
    """--weights, --weights_bands, --list_weights."""
    text = "weights to start from, in place of the encoder's usual ones: a file, a name that --list_weights shows, or "
    parser.flag("weights", f"{text}hf-hub:OWNER/NAME", metavar="NAME|FILE")
    text = "bands that a file of weights was made for, in their order: names with commas, or rgb, bgrn, sentinel2"
    parser.flag("weights_bands", text, metavar="BANDS")
    text = "show the weights that have names, with their bands and licences, and stop"
    parser.flag("list_weights", text, action=_ListWeights, nargs=0)


def weights_from(args: argparse.Namespace) -> dict[str, str]:
    """The flags that were given, as `RunOptions` and `ConfigOptions` take them."""
    return {name: getattr(args, name) for name in ("weights", "weights_bands") if name in args}


class _ListWeights(argparse.Action):
    """Prints the table and stops, whatever else is asked for."""

    def __call__(self, parser, namespace, values, option_string=None):
        from jingwei.models.weights import table

        print(as_flags(table()))
        parser.exit()
