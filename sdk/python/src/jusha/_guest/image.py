"""Reads the library out of the module's own image.

This runtime's interpreter was started from a zip on somebody's disk; a task has no such disk. The
zip is in the module itself, behind a door: this comes first, and whatever knew the file reads from
there instead. (`crates/runtime/src/reactor.rs` is the other side of the door.)
"""

import _host
import _zip_directory
import io
import sys
import types
import zipimport

LIBRARY = sys.path[0]


def _ask(at, length):
    return _host.call(at.to_bytes(4, "little") + length.to_bytes(4, "little")) if length else b""


class Image(io.RawIOBase):
    """The zip, as if it were an open file. Its length comes before it."""

    length = int.from_bytes(_ask(0, 4), "little")

    def __init__(self):
        self.at = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        self.at = max(0, offset + (0, self.at, self.length)[whence])
        return self.at

    def tell(self):
        return self.at

    def readinto(self, buffer):
        data = _ask(4 + self.at, max(0, min(len(buffer), self.length - self.at)))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


class Importer(zipimport.zipimporter):
    """Imports from the image. What its base class looks for on a disk is known here."""

    def __init__(self, path):
        if path != LIBRARY and not path.startswith(LIBRARY + "/"):
            raise zipimport.ZipImportError(f"not in the library: {path!r}", path=path)
        self.archive = LIBRARY
        self.prefix = path[len(LIBRARY) + 1 :]
        if self.prefix:
            self.prefix += "/"

    def get_resource_reader(self, name):
        from importlib.readers import ZipReader
        from zipfile import Path, ZipFile

        class Reader(ZipReader):
            def files(self):
                return Path(ZipFile(Image()), self.prefix)

        return Reader(self, name)


def _begin():
    io_ = zipimport._io
    shown = types.SimpleNamespace(**vars(io_))
    shown.open_code = lambda path: Image() if path == LIBRARY else io_.open_code(path)
    zipimport._io = _zip_directory._io = shown
    # What is in the image is less than what was in the file.
    zipimport._zip_directory_cache[LIBRARY] = zipimport._read_directory(LIBRARY)
    sys.path_hooks.insert(0, Importer)
    sys.path_importer_cache.clear()


_begin()
