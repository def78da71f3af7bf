"""From gigapixel aerial and satellite scenes to land-cover maps: cut, train, predict, vote, fill."""
