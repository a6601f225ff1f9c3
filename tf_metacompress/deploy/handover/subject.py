"""What is handed over."""

import hashlib
from dataclasses import dataclass, field

from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.io_signatures import Signature
from tf_metacompress.deploy.model_metadata import ModelMetadata


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A file and its names.

    Attributes:
        file: The file with its metadata inside.
        metadata: What it says of itself.
        signatures: Every way to call it, the main one first.
        package: Kotlin package.
        class_name: Kotlin class.
    """

    file: FlatFile = field(repr=False)
    metadata: ModelMetadata
    signatures: tuple[Signature, ...]
    package: str
    class_name: str

    @property
    def sha256(self) -> str:
        """Hash of the file, hexadecimal."""
        return hashlib.sha256(self.file.data).hexdigest()
