"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], content: bytes, *, overwrite: bool = True) -> None:
    """Write a file beside its place under another name, then rename it.

    Whoever looks sees the old file or the new one; nothing is left behind by an error or an interrupt. A symbolic link
    stays one: what it points to is replaced. A file that is replaced hands its permissions on.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    OSError
        If it cannot be written; the error names `path`.
    """
    target = os.path.realpath(path)
    beside = os.path.join(os.path.dirname(target), f".fastimg-{secrets.token_hex(8)}.part")
    try:
        with open(beside, "xb") as file:
            file.write(content)
        if os.path.exists(target):
            if not overwrite:
                raise FileExistsError(errno.EEXIST, "the file exists", os.fspath(path))
            shutil.copymode(target, beside)
        os.replace(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
