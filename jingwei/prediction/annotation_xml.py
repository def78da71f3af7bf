"""The XML file that the Gaofen challenge wants beside each result."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path

from jingwei.inputs.samples import Sample
from jingwei.legend import GF2, GF3, Legend

CONTEST_TIME = "2020-07-2020-11"


@dataclass(frozen=True)
class Annotation:
    """What an annotation says of the data and of its maker.

    `origin` and `time` are those of the data: None stands for the contest's (GF2, for radar GF3) where the classes are
    the contest's, and for nothing where the data are somebody's own; see `of`.
    """

    origin: str | None = None
    provider: str = "jingwei"
    author: str = "jingwei"
    time: str | None = None
    version: str = "4.0"
    plugin_name: str = "地物标注"
    plugin_class: str = "标注"

    def of(self, legend: Legend) -> "Annotation":
        """The same for data of a legend."""
        if legend in (GF2, GF3):
            return replace(self, time=CONTEST_TIME if self.time is None else self.time)
        return replace(self, origin=self.origin or "", time=self.time or "")

    def xml(self, sample: Sample, result: str) -> bytes:
        """The annotation of a sample, whose picture is named `result`, as the contest wants it: UTF-8."""
        origin = ("GF3" if sample.is_sar else "GF2") if self.origin is None else self.origin
        content: dict[str, dict[str, str]] = {
            "source": {"filename": sample.images[0].name, "origin": origin},
            "research": {
                "version": self.version,
                "provider": self.provider,
                "author": self.author,
                "pluginname": self.plugin_name,
                "pluginclass": self.plugin_class,
                "time": self.time or "",
            },
            "segmentation": {"resultfile": result},
        }
        root = ElementTree.Element("annotation")
        for name, entries in content.items():
            part = ElementTree.SubElement(root, name)
            for key, text in entries.items():
                ElementTree.SubElement(part, key).text = text
        ElementTree.indent(root, "    ")
        return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def is_annotation(path: Path, result: str) -> bool:
    """Whether a file is the annotation of a picture named `result`."""
    try:
        return ElementTree.parse(path).findtext("segmentation/resultfile") == result
    except (ElementTree.ParseError, ValueError, LookupError):  # no XML, or in an encoding that is not known here
        return False
