"""From gigapixel aerial and satellite scenes to land-cover maps: cut, train, predict, vote, fill."""

__version__ = "0.3.0"
