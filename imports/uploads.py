"""Receiving a file: straight to disk where it will be kept, counted as it comes, refused as soon as it is too large."""

import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException

# What a multipart body holds beside the file: boundaries, headers and the other fields of the form.
FORM_BYTES = 1024 * 1024


class FileTooLarge(APIException):
    status_code = 413
    default_code = "payload_too_large"

    def __init__(self) -> None:
        limit = settings.IMPORT_MAX_UPLOAD_BYTES // 2**20
        super().__init__(_("The file is larger than %(limit)d MB.") % {"limit": limit})


class StorageTemporaryFile(TemporaryUploadedFile):
    """A temporary file that a local storage keeps by renaming it, because it lies in the same file system.

    Closing removes it unless it was kept.
    """

    def __init__(
        self, name: str | None, content_type: str | None, charset: str | None = None, extra: Any = None
    ) -> None:
        directory = None
        if (location := getattr(default_storage, "location", "")) and Path(location).is_absolute():
            directory = Path(location)
            directory.mkdir(parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(dir=directory, prefix="upload-")  # noqa: SIM115 - closed with this object
        UploadedFile.__init__(self, file, name, content_type, 0, charset, extra)


class ImportUploadHandler(TemporaryFileUploadHandler):
    """Raises FileTooLarge before the body is read when its announced length shows it, else at the first byte too many.

    The file is received where it can be kept without another copy.
    """

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: str | None = None
    ) -> None:
        if content_length > settings.IMPORT_MAX_UPLOAD_BYTES + FORM_BYTES:
            raise FileTooLarge

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        FileUploadHandler.new_file(self, *args, **kwargs)
        self.file = StorageTemporaryFile(self.file_name, self.content_type, self.charset, self.content_type_extra)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        try:
            if start + len(raw_data) > settings.IMPORT_MAX_UPLOAD_BYTES:
                raise FileTooLarge
            super().receive_data_chunk(raw_data, start)
        except BaseException:
            self.file.close()  # which removes it; nobody else closes a file that is not complete
            raise
