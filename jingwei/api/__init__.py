"""The public API: what `import jingwei` offers, a function for each step of the road.

    import jingwei

    jingwei.cut([("image_1.png", "image_1_label.png")], "project")
    model = jingwei.load(jingwei.train("focal_lovasz", "project", exp="first", epochs=20))
    jingwei.predict("image_3.png", model, "map.tif", window=1024)
    jingwei.vote(["map.tif", "other.tif", "third.tif"], "vote.tif")
    jingwei.fill("vote.tif", "filled.tif", max_size=500)
    jingwei.polygonize("filled.tif", "fields.gpkg", simplify=1.5)
    jingwei.evaluate("filled.tif", "image_3_label.png")["miou"]

Everything heavy is imported by the function that needs it. Each function raises an error of the `JingweiError` family
where its input is at fault, and writes its outputs whole or not at all. Legends are given as a `Legend`, by name
(jingwei, gf2, gf3) or as the path of a JSON file; left out, maps say by themselves with which legend they were made.
`label_nodata` (keep, ignore) says what pixels of a label or map are whose value is both its nodata tag and a class.
"""

from jingwei.api.crops import cut, tile
from jingwei.api.labels import label
from jingwei.api.maps import fill, polygonize, vote
from jingwei.api.prediction import export, load, predict
from jingwei.api.scores import evaluate, report
from jingwei.api.training import train

__all__ = [
    "cut",
    "evaluate",
    "export",
    "fill",
    "label",
    "load",
    "polygonize",
    "predict",
    "report",
    "tile",
    "train",
    "vote",
]
