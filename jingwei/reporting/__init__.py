"""What people open: the report with its deep zoom, numbers and places to look at."""
