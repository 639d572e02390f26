"""Text files as users have them: read whole, in UTF-8, refused with the reason and the line.

What belongs here: bytes to text, for job files and the files of arrays alike. What must not: what the text says.
"""

from pathlib import Path

from pilotfish.errors import JobFileError

__all__ = ["MOST_BYTES", "decode", "read_bytes", "require_plain"]

MOST_BYTES = 64_000_000
"""Of one file: what is read from it takes several times as much memory."""


def read_bytes(path: Path) -> bytes:
    """All of a file. Raises ValueError with the reason, as it ends a sentence about the file."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except IsADirectoryError:
        msg = "is a folder: name a file in it"
        raise ValueError(msg) from None
    except FileNotFoundError:
        msg = "no such file"
        raise ValueError(msg) from None
    except (OSError, ValueError) as error:
        msg = f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
        raise ValueError(msg) from error
    if len(data) > MOST_BYTES:
        msg = f"is larger than {MOST_BYTES // 1_000_000} MB: split it"
        raise ValueError(msg)
    return data


def decode(data: bytes, file: str) -> str:
    """The text of a file, without a byte order mark. Raises JobFileError as :func:`require_plain` does."""
    text = data.decode(errors="surrogateescape")  # what that hides is found with everything else
    require_plain(text, file)
    return text.removeprefix("\ufeff")


def require_plain(text: str, file: str, *, program: str = "") -> None:
    """Refuse, with a JobFileError, what holds a NUL byte, is not UTF-8, or is too long.

    `program` is what to do where the file was one, for the message.
    """
    if len(text) > MOST_BYTES:
        raise JobFileError(f"is longer than {MOST_BYTES // 1_000_000} million characters: split it", file=file)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise JobFileError(f"holds a NUL byte, so it is no text{program}", file=file, line=line)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        msg = f"is not UTF-8: byte 0x{ord(text[error.start]) & 0xFF:02x}; save it as UTF-8"
        raise JobFileError(msg, file=file, line=line) from error
