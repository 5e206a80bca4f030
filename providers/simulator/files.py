"""Files that were handed to the simulator, or that it hands out; and Google's way to upload one, piece by piece."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from providers.simulator.google_errors import invalid
from providers.simulator.messages import JSON, Answer, Request, answer, error

_NO_FILE = error(403, "PERMISSION_DENIED", "You do not have permission to access the File or it may not exist.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file, in pieces, so that megabytes of images are never copied into one string."""

    id: str
    name: str = ""
    media_type: str = "application/jsonl"
    body: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(map(len, self.body))

    @property
    def content(self) -> bytes:
        """The file in one piece."""
        return b"".join(self.body)


class Files:
    """The files of a simulator; thread-safe. A file may be made when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._makers: dict[str, Callable[[], StoredFile]] = {}
        self._uploads: dict[str, list[bytes]] = {}

    def put(self, file: StoredFile) -> None:
        """Keep *file*."""
        self.promise(file.id, lambda: file)

    def promise(self, file_id: str, make: Callable[[], StoredFile]) -> None:
        """Have *make* make the file of this id whenever it is asked for."""
        with self._lock:
            self._makers[file_id] = make

    def get(self, file_id: str) -> StoredFile | None:
        """The file of this id, or None."""
        with self._lock:
            make = self._makers.get(file_id)
        return make() if make else None

    def begin(self) -> str:
        """The id of an upload that begins."""
        upload_id = uuid.uuid4().hex
        with self._lock:
            self._uploads[upload_id] = []
        return upload_id

    def append(self, upload_id: str, offset: int, piece: bytes) -> bool:
        """Take the piece at *offset* of an upload; False if it does not go on where the last one ended."""
        with self._lock:
            pieces = self._uploads.get(upload_id)
            if pieces is None or sum(map(len, pieces)) != offset:
                return False
            pieces.append(piece)
            return True

    def finish(self, upload_id: str, file: Callable[[tuple[bytes, ...]], StoredFile]) -> StoredFile:
        """End an upload: its pieces are the body of *file*."""
        with self._lock:
            whole = file(tuple(self._uploads.pop(upload_id)))
        self.put(whole)
        return whole


def upload(request: Request, files: Files, origin: str) -> Answer:
    """A step of a resumable upload to Google: the command in its header says which."""
    command = request.headers.get("x-goog-upload-command", "")
    if command == "start":
        link = f"{origin}{request.path}?upload_id={files.begin()}&upload_protocol=resumable"
        return answer({}, headers=(("X-Goog-Upload-URL", link), ("X-Goog-Upload-Status", "active")))
    upload_id, offset = request.query.get("upload_id", ""), request.headers.get("x-goog-upload-offset", "")
    if not offset.isdigit() or not files.append(upload_id, int(offset), request.body):
        return invalid("The upload does not go on where its last piece ended.")
    if "finalize" not in command:
        return answer({}, headers=(("X-Goog-Upload-Status", "active"),))
    file = files.finish(upload_id, lambda body: StoredFile(id=uuid.uuid4().hex[:12], body=body))
    return answer({"file": describe(file)}, headers=(("X-Goog-Upload-Status", "final"),))


def download(file_id: str, files: Files) -> Answer:
    """The bytes of a file of Google's."""
    file = files.get(file_id)
    return Answer(media_type=file.media_type, body=file.body) if file else _NO_FILE


def metadata(file_id: str, files: Files) -> Answer:
    """What Google says of a file."""
    file = files.get(file_id)
    return answer(describe(file)) if file else _NO_FILE


def describe(file: StoredFile) -> JSON:
    """*file* as Google's ``File``."""
    return {
        "name": f"files/{file.id}",
        "mimeType": file.media_type,
        "sizeBytes": str(file.size),
        "state": "ACTIVE",
        "source": "GENERATED" if file.id.startswith("batch-") else "UPLOADED",
    }
