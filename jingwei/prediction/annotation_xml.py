"""The XML file that the Gaofen challenge wants beside each result."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from jingwei.inputs.samples import Sample


@dataclass(frozen=True)
class Annotation:
    """What an annotation says of its maker. `origin` None is GF2 for optical samples, GF3 for radar."""

    origin: str | None = None
    provider: str = "jingwei"
    author: str = "jingwei"
    time: str = "2020-07-2020-11"
    version: str = "4.0"
    plugin_name: str = "地物标注"
    plugin_class: str = "标注"

    def xml(self, sample: Sample, result: str) -> bytes:
        """The annotation of a sample, whose picture is named `result`, as the contest wants it: UTF-8."""
        content = {
            "source": {"filename": sample.images[0].name, "origin": self.origin or ("GF3" if sample.is_sar else "GF2")},
            "research": {
                "version": self.version,
                "provider": self.provider,
                "author": self.author,
                "pluginname": self.plugin_name,
                "pluginclass": self.plugin_class,
                "time": self.time,
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
