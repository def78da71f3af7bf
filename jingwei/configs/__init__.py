"""Config files of system B: the contest trainer's JSON, read into a recipe and a data set."""
