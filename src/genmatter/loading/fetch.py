"""Files from the internet: fetched once, verified, kept."""

__all__ = ["cache_folder", "fetch"]

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from genmatter.errors import DataError

_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 16  # bytes
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def cache_folder() -> Path:
    """Returns where fetched files are kept: `GENMATTER_CACHE`, or a folder of the user's."""
    return Path(os.environ.get("GENMATTER_CACHE") or Path.home() / ".cache" / "genmatter")


def fetch(address: str, sha256: str | None = None, cache: Path | None = None) -> Path:
    """Returns a local copy of a file on the internet, downloading it the first time.

    The file appears under its name only when it is complete and verified. Beside it lies its
    checksum, so that a file of which none is known beforehand is at least known not to have
    changed since.

    Args:
        address: An https address; plain http is accepted from this machine only.
        sha256: The checksum that the file must have, in hexadecimal.
        cache: Folder of the copies; by default `cache_folder()`.

    Raises:
        DataError: The address is not one, it cannot be reached or answers with an error, the
            download breaks off or has another checksum, or the cache cannot be written.
    """
    _check(address)
    folder = cache_folder() if cache is None else cache
    path = folder / _name(address)
    record = path.with_name(path.name + ".sha256")
    if path.is_file() and _digest(path) == (sha256 or _recorded(record)).lower():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=folder, prefix=path.name, suffix=".part")
    except OSError as error:
        raise DataError(
            f"cannot keep downloads in {folder} ({error.strerror}); set GENMATTER_CACHE to a "
            "folder that can be written"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            _download(address, file)
        found = _verified(Path(part), address, sha256)
        record.write_text(f"{found}  {path.name}\n")
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
    return path


def _check(address: str) -> None:
    """Refuses what is no address, and what could be tampered with on its way."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if not host:
        raise DataError(f"{address!r} is no address; one looks like https://host/folder/file")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise DataError(f"{address} is not protected on its way; only https addresses are fetched")


def _name(address: str) -> str:
    """Returns a file name that differs between addresses and ends as the address does."""
    key = hashlib.sha256(address.encode()).hexdigest()[:12]
    name = Path(unquote(urlsplit(address).path)).name
    return f"{key}-{name}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded(record: Path) -> str:
    # another process may be writing it: what is empty yet is no checksum
    return (record.read_text().split() or [""])[0] if record.is_file() else ""


def _download(address: str, file: IO[bytes]) -> None:
    """Copies what an address holds into an open file."""
    request = urllib.request.Request(address, headers={"User-Agent": "genmatter"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            _check(response.url)  # a redirection may have left https
            _copy(response, file)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        code = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise DataError(
            f"cannot fetch {address} ({code}{reason}); without a network, download it by hand "
            "elsewhere and give the file with --data FILE"
        ) from error


def _copy(response: HTTPResponse, file: IO[bytes]) -> None:
    """Copies a response in pieces, with a progress bar, and notices when it breaks off."""
    size = int(response.headers.get("Content-Length") or 0)
    with tqdm(
        total=size or None, desc="download", unit="B", unit_scale=True, disable=None, leave=False
    ) as bar:
        while piece := response.read(_CHUNK):
            file.write(piece)
            bar.update(len(piece))
    if file.tell() < size:
        raise HTTPException(f"broke off after {file.tell()} of {size} bytes")


def _verified(path: Path, address: str, sha256: str | None) -> str:
    """Returns the checksum of a file, if it is the right one."""
    found = _digest(path)
    if sha256 is not None and found != sha256.lower():
        raise DataError(
            f"what {address} holds has the SHA-256 {found}, but {sha256.lower()} was expected: "
            "it was changed or damaged on its way, and has been thrown away"
        )
    return found
