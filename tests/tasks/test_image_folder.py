"""Folders and zip files of images."""

import io
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.fresh_python import run_script
from tf_metacompress.errors import ArgumentTypeError, CorruptFileError, InvalidArgumentError
from tf_metacompress.tasks import ClassSource, ImageFolder, NWayKShot


def png(value, size=(8, 8)):
    stream = io.BytesIO()
    Image.new("L", size, value).save(stream, "PNG")
    return stream.getvalue()


def write_folder(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def values(source, name):
    """The first pixel of each image of a class, as it was written."""
    images = source.examples(name, np.arange(source.count(name)))
    return np.round(images[:, 0, 0, 0] * 255).astype(int).tolist()


FILES = {
    "Greek/alpha/02.png": png(2),
    "Greek/alpha/01.png": png(1),
    "Latin/a/01.PNG": png(3),
    "Latin/notes.txt": b"no image",
    ".cache/a/01.png": b"hidden",
    "Latin/a/._01.png": b"hidden",
    "__MACOSX/Latin/a/01.png": b"hidden",
}


@pytest.mark.parametrize("packed", [False, True])
def test_classes_are_folders_and_examples_their_files_in_order(tmp_path, packed):
    path = write_zip(tmp_path / "x.zip", FILES) if packed else write_folder(tmp_path, FILES)
    source = ImageFolder(path, size=(4, 6))
    assert isinstance(source, ClassSource)
    assert source.classes == ("Greek/alpha", "Latin/a")
    assert (source.count("Greek/alpha"), source.count("Latin/a")) == (2, 1)
    assert values(source, "Greek/alpha") == [1, 2]
    assert values(source, "Latin/a") == [3]
    images = source.examples("Greek/alpha", np.array([1, 1, 0]))
    assert (images.shape, images.dtype) == ((3, 4, 6, 1), np.float32)
    assert "2 classes, 3 images of shape (4, 6, 1)" in repr(source)


def test_inverted_and_coloured(tmp_path):
    path = write_folder(tmp_path, {"a/1.png": png(55)})
    plain = ImageFolder(path, grayscale=False).examples("a", np.array([0]))
    assert plain.shape == (1, 28, 28, 3)
    inverted = ImageFolder(str(path), invert=True).examples("a", np.array([0]))
    np.testing.assert_allclose(inverted, 200 / 255, atol=1e-6)


def test_a_class_in_two_places_is_one_class(tmp_path):
    first = {"one/Greek/alpha/1.png": png(1), "one/Greek/alpha/2.png": png(2)}
    second = {"Greek/alpha/2.png": png(9), "Greek/alpha/3.png": png(3), "Latin/a/1.png": png(4)}
    source = ImageFolder(
        [write_zip(tmp_path / "one.zip", first), write_folder(tmp_path / "two", second)]
    )
    assert source.classes == ("Greek/alpha", "Latin/a")
    assert values(source, "Greek/alpha") == [1, 2, 3]


def test_only_a_folder_called_as_the_zip_file_is_left_out_of_the_names(tmp_path):
    files = {"cat/1.png": png(1), "cat/tom/1.png": png(2)}
    assert ImageFolder(write_zip(tmp_path / "cat.zip", files)).classes == ("cat", "tom")
    assert ImageFolder(write_zip(tmp_path / "pet.zip", files)).classes == ("cat", "cat/tom")


def test_images_are_read_once_and_only_when_needed(tmp_path):
    files = {"a/1.png": png(1), "a/2.png": png(2), "b/1.png": b"broken"}
    source = ImageFolder(write_folder(tmp_path, files))
    assert values(source, "a") == [1, 2]
    (tmp_path / "a" / "1.png").unlink()
    assert values(source, "a") == [1, 2]
    with pytest.raises(CorruptFileError, match=r"b/1\.png"):
        source.examples("b", np.array([0]))


def test_a_change_of_what_was_drawn_does_not_reach_the_cache(tmp_path):
    source = ImageFolder(write_folder(tmp_path, {"a/1.png": png(7)}))
    source.examples("a", np.array([0]))[:] = 1.0
    assert values(source, "a") == [7]


def first_pixels(source):
    return values(source, "a")


@pytest.mark.parametrize("packed", [False, True])
def test_it_is_pickled_without_images_and_open_files(tmp_path, packed):
    files = {f"{name}/{row:02}.png": png(row) for name in "ab" for row in range(40)}
    path = write_zip(tmp_path / "x.zip", files) if packed else write_folder(tmp_path, files)
    source = ImageFolder(path, size=(64, 64))
    expected = first_pixels(source)
    pickled = pickle.dumps(source)
    assert len(pickled) < 10_000
    assert first_pixels(pickle.loads(pickled)) == expected == list(range(40))


FORKED = """
import multiprocessing, sys
from tf_metacompress.tasks import ImageFolder

source = ImageFolder(sys.argv[1])

def read(number):
    return round(float(source.examples(f"{number:03}", [0]).max()) * 255)

assert read(200) == 200
with multiprocessing.get_context("fork").Pool(4) as pool:
    assert pool.map(read, range(200), chunksize=1) == list(range(200))
assert read(201) == 201
"""


def test_forked_processes_do_not_disturb_each_other(tmp_path):
    files = {f"{number:03}/1.png": png(number) for number in range(202)}
    run_script("-c", FORKED, str(write_zip(tmp_path / "x.zip", files)))


def test_tasks_are_drawn_from_images(tmp_path):
    files = {f"{name}/{row}.png": png(10 * name + row) for name in range(4) for row in range(3)}
    task = NWayKShot(ImageFolder(write_folder(tmp_path, files)), 3, 1, 2)(0)
    drawn = np.round(task.query[0][:, 0, 0, 0] * 255).astype(int) // 10
    assert [int(task.classes[label]) for label in task.query[1]] == drawn.tolist()


def test_paths_that_cannot_be_read_are_refused_at_once(tmp_path):
    with pytest.raises(InvalidArgumentError, match="`path` must exist.*nowhere"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ArgumentTypeError, match="`path` must be a folder"):
        ImageFolder(3)
    (tmp_path / "text.zip").write_text("no zip file")
    with pytest.raises(CorruptFileError, match=r"whole zip file.*text\.zip"):
        ImageFolder(tmp_path / "text.zip")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/1.jpg": b""}, "There must be PNG files in folders"),
        ({"a/1.png": png(1), "2.png": png(1)}, r"in a folder named as its class.*2\.png"),
    ],
)
def test_folders_without_classes_are_refused(tmp_path, files, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ImageFolder(write_folder(tmp_path, files))
    with pytest.raises(InvalidArgumentError, match=message):
        ImageFolder(write_zip(tmp_path / "x.zip", files))


@pytest.mark.parametrize("size", [28, (28,), (0, 28), (28.0, 28)])
def test_sizes_that_are_none_are_refused(tmp_path, size):
    with pytest.raises(InvalidArgumentError, match="`size`"):
        ImageFolder(write_folder(tmp_path, {"a/1.png": png(1)}), size=size)


def test_no_paths_and_unknown_classes_are_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="There must be PNG files"):
        ImageFolder([])
    source = ImageFolder(write_folder(tmp_path, {"Greek/alpha/1.png": png(1)}))
    with pytest.raises(InvalidArgumentError, match="Did you mean 'Greek/alpha'"):
        source.count("Greek/alpah")


def test_a_damaged_zip_member_is_named(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a/1.png": png(1, (64, 64))})
    data = bytearray(path.read_bytes())
    start = data.index(b"a/1.png") + len("a/1.png")
    data[start + 5 : start + 25] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"x\.zip.*a/1\.png"):
        ImageFolder(path).examples("a", np.array([0]))
