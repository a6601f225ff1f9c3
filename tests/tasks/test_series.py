"""Time series from .ts text."""

import zipfile

import numpy as np
import pytest

from tf_metacompress.errors import CorruptFileError, InvalidArgumentError
from tf_metacompress.tasks import load_ts

HEADER = "#A comment\n@problemName Two\n@univariate false\n@classLabel true Rest Run\n@data\n"
X = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
Y = np.array([1, 0, 0, 1, 1])


def text(x=X, y=Y, header=HEADER):
    def channel(values):
        return ",".join(repr(float(value)) for value in values)

    names = ("Rest", "Run")
    lines = [
        ":".join([*(channel(c) for c in series.T), names[label]])
        for series, label in zip(x, y, strict=True)
    ]
    return header + "\n".join(lines) + "\n"


def test_series_are_steps_by_channels(tmp_path):
    path = tmp_path / "two.ts"
    path.write_text(text())
    x, y, names = load_ts(path)
    assert x.dtype == np.float32 and names == ("Rest", "Run")
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_a_member_of_a_zip_file(tmp_path):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Two_TRAIN.ts", text())
        archive.writestr("Two_TEST.ts", text(X[:2], Y[:2]))
    np.testing.assert_array_equal(load_ts(str(path), "Two_TEST.ts")[0], X[:2])
    with pytest.raises(InvalidArgumentError, match="`member` must be in.*Two_TRAIN"):
        load_ts(path, "Two.ts")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "classLabel"),
        (text(header="@classLabel false\n@data\n"), "classLabel"),
        (HEADER, "no series"),
        (text().replace(":Run", ":Jump"), "a label is none of"),
        (text() + "1,2:3,4:5,6:Run\n", "inhomogeneous"),
        (HEADER + "1,?:2,3:Run\n", "could not convert"),
        (HEADER + "1,nan:2,3:Run\n", "a gap"),
        (HEADER + "Run\n", "no series"),
    ],
)
def test_files_without_whole_series_are_refused(tmp_path, content, reason):
    path = tmp_path / "two.ts"
    path.write_text(content)
    with pytest.raises(CorruptFileError, match=rf"equal length.*two\.ts.*{reason}"):
        load_ts(path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="`path` must exist"):
        load_ts(tmp_path / "nowhere.ts")
    (tmp_path / "bytes.ts").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptFileError, match="bytes"):
        load_ts(tmp_path / "bytes.ts")
    with pytest.raises(CorruptFileError, match="bytes"):
        load_ts(tmp_path / "bytes.ts", "two.ts")
