"""Files packed in gzip or ZIP: read as a stream, never unpacked to disk, within limits that bombs exceed."""

import gzip
import io
import zipfile
import zlib
from typing import IO

from pim.tabular.errors import TableError

MAX_UNPACKED = 4 * 1024**3  # bytes
MAX_RATIO = 200  # unpacked to packed; tables reach 50
FREE = 16 * 1024**2  # bytes that are never too many, whatever the ratio
MAX_MEMBERS = 5000

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


class Unpacked(io.RawIOBase):
    """The content of a packed file. Seeking costs unpacking again what comes before: from the start to go back.

    allowed: how many bytes may come out.
    """

    def __init__(self, content: IO[bytes], *, allowed: int) -> None:
        super().__init__()
        self._content, self._allowed = content, allowed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._content.tell()

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._content.read(size)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
            raise TableError(f"The packed file is damaged or incomplete: {error}; pack it again") from error
        self._check()
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset >= (at := self._content.tell()):
            while at < offset and (skipped := self.read(min(offset - at, 1 << 20))):
                at += len(skipped)
            return at
        return self._content.seek(offset, whence)

    def _check(self) -> None:
        if self._content.tell() > self._allowed:
            raise TableError(
                f"The packed file holds more than {self._allowed >> 20} MB, which is out of all proportion to its "
                "size; unpack it and send the table itself"
            )

    def close(self) -> None:
        self._content.close()
        super().close()


def unpack(file: IO[bytes]) -> tuple[IO[bytes], str]:
    """(content, "gzip" or "zip") of a packed file; (file, "") of any other, workbooks included. Raises TableError."""
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(GZIP_MAGIC):
        allowed = _allowed(file.seek(0, io.SEEK_END))
        file.seek(0)
        return Unpacked(gzip.GzipFile(fileobj=file), allowed=allowed), "gzip"  # type: ignore[return-value,arg-type]
    if magic not in ZIP_MAGIC:
        return file, ""
    archive = open_zip(file)
    names = set(archive.namelist())
    if "[Content_Types].xml" in names or any(name.startswith("xl/") for name in names):
        file.seek(0)
        return file, ""
    if "mimetype" in names:
        raise TableError("This is an OpenDocument file; save the table as .xlsx or .csv")
    return _only_member(archive), "zip"


def open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """Raises TableError for what is no ZIP archive and for one of too many members."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise TableError(f"The ZIP archive (or Excel workbook) is damaged or incomplete: {error}") from error
    if len(archive.infolist()) > MAX_MEMBERS:
        raise TableError(f"The archive holds more than {MAX_MEMBERS:,} files")
    return archive


def _only_member(archive: zipfile.ZipFile) -> IO[bytes]:
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir() and not info.filename.startswith("__MACOSX/") and not info.filename.endswith(".DS_Store")
    ]
    if len(members) != 1:
        shown = ", ".join(info.filename for info in members[:10])
        raise TableError(
            f"The ZIP archive must hold exactly one file, it holds {len(members)}{': ' + shown if shown else ''}; "
            "send each file on its own"
        )
    (member,) = members
    if member.flag_bits & 1:
        raise TableError(f"{member.filename} in the ZIP archive is protected by a password; send it without one")
    allowed = _allowed(member.compress_size)
    if member.file_size > allowed:
        raise TableError(
            f"{member.filename} in the ZIP archive holds {member.file_size >> 20} MB, which is out of all proportion "
            "to its packed size; unpack it and send the table itself"
        )
    try:
        content = archive.open(member)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise TableError(f"{member.filename} in the ZIP archive cannot be unpacked: {error}") from error
    return Unpacked(content, allowed=allowed)  # type: ignore[return-value]


def _allowed(packed: int) -> int:
    return min(MAX_UNPACKED, max(FREE, packed * MAX_RATIO))
