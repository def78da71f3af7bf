"""The version of the package, for all that names it: stamps, reports, exported networks."""

VERSION = "0.3.0"
