"""Colours on the screen that people with any colour vision can tell apart.

Files keep the contests' colours; of these grass and road, or built-up and grassland, are one colour to a reader who is
blind to red or green. The colours here keep their kinds (water is blue, roads are yellow), and any two differ by a
CIEDE2000 of 18 and more, also as seen without red, green or blue cones.
"""

from jingwei.legend import LEGENDS, Legend, hex_of

SCREEN = {
    "jingwei": ("#000000", "#C68600", "#F7F29B", "#21AD9F", "#982F2A"),
    "gf2": ("#000000", "#4F51FB", "#A2AC61", "#163D08", "#4DC2FF", "#FEE031", "#FFFFFF", "#B6007A", "#7F6B55"),
    "gf3": ("#00ACDC", "#FECD1B", "#3B2A80", "#426B11", "#E06274", "#FFFFFF"),
}


def screen_legend(legend: Legend) -> dict:
    """A legend as the page wants it: as its file has it, and for each class the colour on the `screen`, #RRGGBB.

    Only the legends that come with Jingwei have other colours on the screen: own ones are as their makers chose.
    """
    known = LEGENDS.get(legend.name)
    ours = known and [(c.name, c.color) for c in known.classes] == [(c.name, c.color) for c in legend.classes]
    colors = SCREEN[legend.name] if ours else [hex_of(c.color) for c in legend.classes]
    content = legend.to_dict()
    return content | {
        "classes": [entry | {"screen": color} for entry, color in zip(content["classes"], colors, strict=True)]
    }
