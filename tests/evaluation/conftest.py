"""What tests of evaluation share: a map of fields."""

import pytest
from drawn_maps import blobs

from jingwei.legend import NODATA


@pytest.fixture
def field_map():
    labels = blobs(300, 130, 5, 4)
    labels[:40, :30] = NODATA
    return labels
