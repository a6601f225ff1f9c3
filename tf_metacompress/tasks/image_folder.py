"""Images by class from folders and zip files of PNG files, read when they are needed."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from tf_metacompress.errors import CorruptFileError, check_int, invalid, wrong_type
from tf_metacompress.tasks.class_source import check_class
from tf_metacompress.tasks.png import read_png, resize

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The classes of folders and zip files: `a/b/1.png` belongs to the class "a/b".

    Several folders and zip files are merged: a class that is in two of them is one class, and of
    files of the same name in it the first counts. The outermost folder of a zip file is no part
    of the names when it is called as the zip file is. Hidden files are left out.

    The images of a class are read when one is first asked for, and kept as float32.

    Attributes:
        path: A folder, a zip file, or several of them.
        size: Height and width that images are resized to, by averaging areas.
        invert: Whether to turn black into white.
        grayscale: Whether to give one channel (the luma of colours) rather than three.
        classes: Names of the classes, sorted.

    Raises:
        ArgumentTypeError: If `path` is no path.
        InvalidArgumentError: If a path does not exist, there is no PNG file, or one lies in no
            folder.
        CorruptFileError: If a file that should be a zip file is none, or later, when images are
            read, one is no PNG file.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> Path("pets/cat").mkdir(parents=True)
        >>> Image.new("L", (64, 64), 255).save("pets/cat/tom.png")
        >>> images = ImageFolder("pets", size=(28, 28))
        >>> images.classes, images.count("cat"), images.examples("cat", np.array([0])).shape
        (('cat',), 1, (1, 28, 28, 1))
    """

    path: PathLike | Sequence[PathLike]
    size: tuple[int, int] = (28, 28)
    invert: bool = False
    grayscale: bool = True
    classes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Lists the files; reads none."""
        paths = self.path if isinstance(self.path, list | tuple) else (self.path,)
        for path in paths:
            if not isinstance(path, str | os.PathLike):
                raise wrong_type("`path` must be a folder or a zip file, or several.", path=path)
        if not isinstance(self.size, list | tuple) or len(self.size) != 2:
            raise invalid("`size` must be a height and a width.", size=self.size)
        places = tuple(_opened(Path(path)) for path in paths)
        files = _merged(places)
        if not files:
            raise invalid(
                "There must be PNG files in folders named as their classes.",
                path=[str(path) for path in paths],
            )
        object.__setattr__(self, "path", tuple(str(path) for path in paths))
        object.__setattr__(self, "size", tuple(check_int("size", side, 1) for side in self.size))
        object.__setattr__(self, "classes", tuple(sorted(files)))
        object.__setattr__(self, "_places", places)
        object.__setattr__(self, "_files", files)
        object.__setattr__(self, "_images", {})

    def __repr__(self) -> str:
        """Shows where the images are from, how many there are, and their form."""
        total = sum(len(files) for files in self._files.values())
        shape = (*self.size, 1 if self.grayscale else 3)
        paths = ", ".join(repr(path) for path in self.path)
        return (
            f"{type(self).__name__}({paths}: {len(self.classes)} classes, "
            f"{total} images of shape {shape}{', inverted' if self.invert else ''})"
        )

    def __getstate__(self) -> dict[str, object]:
        """Leaves out the images, which are read again elsewhere."""
        return {**self.__dict__, "_images": {}}

    def count(self, name: str) -> int:
        """Gives how many examples a class has, as `ClassArrays.count` does."""
        return len(self._files_of(name))

    def examples(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Gives images of a class.

        Args:
            name: Name of the class.
            rows: Which of its images, counted from 0 in the order of the names of their files.

        Returns:
            Pixels in [0, 1], float32 of shape (len(rows), *size, channels).

        Raises:
            InvalidArgumentError: If there is no such class.
            CorruptFileError: If an image of the class is no PNG file.
        """
        files = self._files_of(name)
        if name not in self._images:
            self._images[name] = np.stack([self._read(*file) for file in files])
        return self._images[name][rows]

    def _files_of(self, name: str) -> tuple[tuple[int, str], ...]:
        if name not in self._files:
            check_class(self, name)
        return self._files[name]

    def _read(self, place: int, file: str) -> np.ndarray:
        data = self._places[place].read(file)
        name = f"{self._places[place].path}/{file}"
        image = resize(read_png(data, name, grayscale=self.grayscale), self.size)
        return 1.0 - image if self.invert else image


class _Folder:
    """A folder of files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Iterator[tuple[str, PurePosixPath]]:
        for file in sorted(self.path.rglob("*")):
            if file.is_file():
                name = PurePosixPath(file.relative_to(self.path).as_posix())
                yield str(name), name

    def read(self, file: str) -> bytes:
        return (self.path / file).read_bytes()


class _Zip:
    """A zip file that is opened once in each process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self._archive()

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_opened": None}

    def names(self) -> Iterator[tuple[str, PurePosixPath]]:
        for file in sorted(self._archive().namelist()):
            name = PurePosixPath(file)
            wrapped = len(name.parts) > 2 and name.parts[0] == self.path.stem
            if not file.endswith("/"):
                yield file, PurePosixPath(*name.parts[1:]) if wrapped else name

    def read(self, file: str) -> bytes:
        try:
            return self._archive().read(file)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise _corrupt(self.path, f"{file}: {error}") from error

    def _archive(self) -> zipfile.ZipFile:
        # A child process shares the file position of its parent's file.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                raise _corrupt(self.path, str(error)) from error
        return self._opened[1]


def _opened(path: Path) -> _Folder | _Zip:
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise invalid("`path` must exist.", "Pass a folder or a zip file.", path=str(path))
    return _Zip(path)


def _corrupt(path: Path, reason: str) -> CorruptFileError:
    return CorruptFileError(
        f"A file given as `path` must be a whole zip file. Received: {str(path)!r} ({reason}). "
        "Pass a folder or a zip file; fetch a damaged one again."
    )


def _merged(places: Sequence[_Folder | _Zip]) -> dict[str, tuple[tuple[int, str], ...]]:
    """For each class its files, as (number of the place, name there), in order of their names."""
    found: dict[str, dict[str, tuple[int, str]]] = {}
    for number, place in enumerate(places):
        for file, name in place.names():
            hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
            if hidden or name.suffix.lower() != ".png":
                continue
            if len(name.parts) == 1:
                raise invalid(
                    "Every PNG file must lie in a folder named as its class.",
                    file=f"{place.path}/{file}",
                )
            found.setdefault(str(name.parent), {}).setdefault(name.name, (number, file))
    return {key: tuple(file for _, file in sorted(found[key].items())) for key in sorted(found)}
