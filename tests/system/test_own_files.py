"""One reader for our JSON, tables and stamps: whatever is in a file, its content or one line that names it."""

import json
import random

import pytest

from jingwei.errors import InputError, SettingError
from jingwei.system.own_files import (
    finite,
    kept_json,
    kept_lines,
    number,
    parse_json,
    read_json,
    read_table,
    read_text,
    sealed,
    whole,
)

SHAPE = {"name": str, "sizes": [{"px": int, "share": float | None}], "box": tuple[int, int], "counts": {str: int}}
CONTENT = {
    "name": "烤烟",
    "sizes": [{"px": 3, "share": 1}, {"px": 4, "share": None}],
    "box": [1, 2],
    "counts": {"a": 1},
}
COLUMNS = {"name": str, "valid": whole, "mean_*": finite, "note*": number}
TABLE = "name,valid,other,mean_1,mean_2\nx,3,?,0.5,-1e9\n"


def refused(error, path, words: str) -> None:
    """An error is one short line: the file, what is wrong, the remedy."""
    line = str(error.value)
    assert line.startswith(f"{path}: "), line
    assert line.endswith(": do this"), line
    assert words in line, line
    assert "\n" not in line, line
    assert len(line) < 300, line
    line.encode()


def with_value(place: str, value) -> dict:
    content = json.loads(json.dumps(CONTENT))
    if place == "share":
        content["sizes"][1]["share"] = value
    else:
        content[place] = value
    return content


def test_content_that_fits_comes_as_it_is(tmp_path):
    path = tmp_path / "x.json"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_text(json.dumps(CONTENT, ensure_ascii=False), encoding=encoding)
        assert read_json(path, SHAPE, remedy="do this") == CONTENT
    assert kept_json(path, SHAPE) == CONTENT
    assert read_json(path, {"name": str}, remedy="do this") == CONTENT  # further keys may be there
    assert parse_json("[1, 2.5]", "x", tuple[float, ...], remedy="do this") == [1, 2.5]
    assert parse_json("9223372036854775807", "x", int, remedy="do this") == 2**63 - 1


BROKEN = {
    "empty": (b"", "is not JSON"),
    "cut off": (b'{"name": ', "is not JSON"),
    "a picture": (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text"),
    "UTF-16": ('{"name": 1}'.encode("utf-16"), "is not UTF-8 text"),
    "GBK": ('{"name": "烤烟"}'.encode("gbk"), "is not UTF-8 text"),
    "zero bytes": (bytes(200), "bytes of zero"),
    "nested lists": (b"[" * 100_000 + b"]" * 100_000, "is nested too deep"),
    "nested sections": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is nested too deep"),
    "nested a little too deep": (b"[" * 101 + b"1" + b"]" * 101, "is nested too deep"),
    "5,000 digits": (b"1" * 5000, "a number of 5000 digits"),
    "400 digits": (b"-" + b"1" * 400, "a number of 400 digits"),
    "NaN": (b'{"a": NaN}', "the number NaN, which is not finite"),
    "minus infinity": (b"-Infinity", "not finite"),
    "1e999": (b"1e999", "the number 1e999, which is not finite"),
    "a key twice": (b'{"a": 1, "a": 2}', "has the key a twice"),
    "half a character": (rb'{"name": "\ud800"}', "a character that can't be written"),
    "half a character as a key": (rb'{"\uDFFF": 1}', "a character that can't be written"),
    "NUL": (rb'["a\u0000b"]', "a character that can't be written"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_json_of_ours_gets_one_line(tmp_path, kind):
    content, words = BROKEN[kind]
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(SettingError) as error:
        read_json(path, remedy="do this", error=SettingError)
    if kind == "a key twice":
        assert "keep one of them" in str(error.value)
    else:
        refused(error, path, words)
    assert kept_json(path) is None


@pytest.mark.parametrize("text", [r'"\ud83d\ude00"', r'"\\ud800"', r'"\\u0000"', r'{"\\\\u0000": "\u00e4"}'])
def test_texts_that_only_look_like_it_are_read(text):
    assert parse_json(text, "x", remedy="do this") == json.loads(text)


@pytest.mark.parametrize(("place", "value", "words"), [
    ("name", 3, "name is 3, not a text"), ("name", ["x" * 99], "..., not a text"),
    ("sizes", {}, "sizes is {}, not a list"), ("sizes", [3], "sizes[0] is 3, not a section {...}"),
    ("sizes", [{"px": 1}], "has no sizes[0].share"), ("sizes", [{"px": True, "share": 1}], "sizes[0].px is true"),
    ("share", "1", 'sizes[1].share is "1", not a number or null'), ("box", [1], "box is [1], not a list of 2"),
    ("box", [1, 2.5], "box is [1, 2.5]"), ("counts", {"a": "b"}, 'counts.a is "b", not a whole number'),
    ("counts", None, "counts is null, not a section {...}"),
])  # fmt: skip
def test_a_misfit_is_named_by_its_place(tmp_path, place, value, words):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(with_value(place, value)))
    with pytest.raises(InputError) as error:
        read_json(path, SHAPE, remedy="do this")
    refused(error, path, words)


@pytest.mark.parametrize("content", ["[]", "3", '"x"', "null", "true"])
def test_another_kind_of_content_is_a_misfit(content):
    with pytest.raises(InputError, match="x: the content is .*, not a section"):
        parse_json(content, "x", SHAPE, remedy="do this")
    with pytest.raises(InputError, match="x: has no name: do this"):
        parse_json("{}", "x", SHAPE, remedy="do this")


def test_a_table_comes_with_the_values_that_were_asked_for(tmp_path):
    path = tmp_path / "x.csv"
    for text in (TABLE, TABLE.replace("\n", "\r\n"), TABLE + "\n\n", "\ufeff" + TABLE, TABLE.rstrip()):
        path.write_bytes(text.encode())
        rows = read_table(path, COLUMNS, remedy="do this")
        assert rows == [{"name": "x", "valid": 3, "mean_1": 0.5, "mean_2": -1e9}]
    path.write_text('note,name,valid\n,y,1\n2,",""",-2\n')
    rows = read_table(path, COLUMNS, remedy="do this")
    assert rows == [{"note": None, "name": "y", "valid": 1}, {"note": 2.0, "name": ',"', "valid": -2}]


def test_what_is_sealed_is_read_as_it_was_written_or_not_at_all(tmp_path):
    path, text = tmp_path / "x.json", sealed(CONTENT)
    path.write_text(text)
    assert kept_json(path, SHAPE) == CONTENT
    broken = 0
    for bit in range(8 * len(text)):
        data = bytearray(text.encode())
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        content = kept_json(path, SHAPE)
        broken += content is None
        assert content is None or {key: content[key] for key in CONTENT} == CONTENT
    assert broken > 7 * len(text)


TABLES = {
    "empty": ("", "it is empty"),
    "only blank": ("\n\n", "it is empty"),
    "a column missing": ("name,mean_1\nx,1\n", "has no column valid"),
    "a column twice": ("name,valid,name\nx,1,y\n", 'has the column "name" twice'),
    "an extra cell": (TABLE + "x,3,?,1,2,extra\n", "line 3 has 6 cells, not 5"),
    "a cell missing": (TABLE + "x,3\n", "line 3 has 2 cells, not 5"),
    "an endless field": (f"name,valid\n{'x' * 200_000},1\n", "field larger than field limit"),
    "an open quote": (TABLE + '"x,1,2,3,4\n' * 9, ""),
    "a text for a number": ("name,valid\nx,many\n", 'line 2: valid is "many", not a whole number'),
    "5,000 digits": (f"name,valid\nx,{'1' * 5000}\n", "not a whole number"),
    "underscores": ("name,valid\nx,1_0\n", "not a whole number"),
    "NaN": ("name,valid,mean_1\nx,1,nan\n", 'line 2: mean_1 is "nan", not a finite number'),
    "no number": ("name,valid,mean_1\nx,1,\n", 'mean_1 is "", not a finite number'),
    "a broken note": ("name,valid,note\nx,1,2\ny,1,z\n", 'line 3: note is "z", not a number'),
    "zero bytes": ("name,valid\nx\0,1\n", "bytes of zero"),
    "a carriage return": ("name,valid\rx,1\r", ""),
}


@pytest.mark.parametrize("kind", TABLES)
def test_what_is_no_table_gets_one_line(tmp_path, kind):
    text, words = TABLES[kind]
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    if kind == "a carriage return":  # an old Mac's lines: Python's reader knows them
        assert read_table(path, COLUMNS, remedy="do this") == [{"name": "x", "valid": 1}]
        return
    with pytest.raises(InputError) as error:
        read_table(path, COLUMNS, remedy="do this")
    refused(error, path, words)


def test_what_can_not_be_opened_gets_one_line(tmp_path):
    for path in (tmp_path / "none.json", tmp_path / "a\0b", tmp_path / "x.json" / "y"):
        (tmp_path / "x.json").write_text("{}")
        with pytest.raises(InputError, match="no such file: run it first"):
            read_json(path, remedy="do this", missing="run it first")
    with pytest.raises(InputError, match="can't be read .*: check the path"):
        read_table(tmp_path, COLUMNS, remedy="do this")
    with pytest.raises(InputError, match="can't be read .*: check the path"):
        read_text(tmp_path / ("n" * 300), remedy="do this")
    assert kept_json(tmp_path) is None
    assert kept_lines(tmp_path / "none", 1) is None


def test_kept_lines_are_whole_or_none(tmp_path):
    path = tmp_path / "stamp"
    path.write_text("mark\nopenvino bf16", encoding="utf-8")
    assert kept_lines(path, 2) == ["mark", "openvino bf16"]
    assert kept_lines(path, 3) is None
    path.write_bytes(b"mark\xff\n2")
    assert kept_lines(path, 2) is None


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Some bytes of a file put in, taken out or changed."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        new = bytes(rng.choice(b'{}[]",:0.e-\n\\\0\xff\x80u') for _ in range(rng.randint(0, 3)))
        data = data[:at] + new + data[at + rng.randint(0, 3) :]
    return data


@pytest.mark.parametrize(("text", "read"), [
    (json.dumps(CONTENT), lambda path: read_json(path, SHAPE, remedy="do this")),
    (TABLE + "y,4,?,1,2\n", lambda path: read_table(path, COLUMNS, remedy="do this")),
], ids=["JSON", "table"])  # fmt: skip
def test_whatever_is_changed_is_read_or_refused_in_one_line(tmp_path, text, read):
    rng, path, refusals = random.Random(0), tmp_path / "x", []
    for _ in range(500):
        path.write_bytes(mutant(text.encode(), rng))
        try:
            read(path)
        except InputError as error:
            refusals.append(str(error))
    assert 50 < len(refusals) < 500
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in refusals)
