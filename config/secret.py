"""The secret key of an installation that was given none: made once, kept in a private file."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path


def stored_secret(path: Path) -> str:
    """Read the secret, or make it if it is not there. Readable by this user only.

    Many processes may ask at the same moment: the first link wins, all read that one.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return path.read_text().strip()
