"""Every link from one document to another leads somewhere, headings included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.embedded import ROOT

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("scripclient/*.md")]
    if path.is_file()
)


def anchor(heading: str) -> str:
    """The name that a heading is linked by."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.strip().replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for path, heading in LINK.findall(document.read_text()):
        target = (document.parent / path) if path else document
        assert target.exists(), f"{path} is not there"
        if heading:
            known = {anchor(found) for found in HEADING.findall(target.read_text())}
            assert heading in known, f"{path} has no heading #{heading}"


def test_a_link_that_leads_nowhere_is_found() -> None:
    assert LINK.findall("see [it](docs/none.md#here)") == [("docs/none.md", "here")]
    assert not Path(ROOT / "docs/none.md").exists()
