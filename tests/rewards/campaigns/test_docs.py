"""What docs/campaigns.md shows is what Scrip takes, word for word."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path

from rewards.campaigns import conditions, deciding, publishing, terms
from rewards.campaigns.models import CampaignVersion
from tests.rewards.campaigns.conftest import NOW, World
from tests.rewards.campaigns.test_chance import DRAW

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "campaigns.md").read_text()


def test_terms_of_the_guide_are_taken(world: World) -> None:
    [said] = re.findall(r"versions/ \$MARLA '(\{.*?\})'\n", GUIDE, re.DOTALL)
    read = publishing.check("WEEKEND", json.loads(said)["terms"], now=NOW)
    assert read.budgets == {"POINTS": 100_000}


def test_draw_is_proven_as_the_guide_says(world: World) -> None:
    ends_at = (NOW + timedelta(days=1)).isoformat()
    world.campaign(effects=DRAW, budgets={"POINTS": 10_000}, ends_at=ends_at)
    made = world.claim(world.ann).claim
    assert made is not None
    commitment, seed = publishing.revealed_seed("WELCOME", 1, now=NOW + timedelta(days=1))
    [proof] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    said = {
        "seed": seed,
        "commitment": commitment,
        "draw_name": f"{made.version_id}:{made.owner_id}:{made.request.hex}",
        "claim": {"drawn": made.drawn},
        "weights": [1, 3, 4],
    }
    exec(proof, said)
    spot = said["spot"]
    assert isinstance(spot, int)
    assert made.drawn[0]["outcome"] == (0 if spot < 1 else 1 if spot < 4 else 2)
    assert (
        CampaignVersion.objects.get().commitment == hashlib.sha256(bytes.fromhex(seed)).hexdigest()
    )


def test_guide_names_every_leaf_effect_term_and_refusal() -> None:
    leaves = [each.__struct_config__.tag for each in conditions.Condition.__subclasses__()]
    effects = [each.__struct_config__.tag for each in terms.Effect.__subclasses__()]
    reasons = [
        value[0]
        for name, value in vars(deciding).items()
        if name.isupper() and isinstance(value, tuple) and len(value) == 2
    ]
    fields = list(terms.Terms.__struct_fields__)
    missing = [each for each in (*leaves, *effects, *reasons, *fields) if f"`{each}`" not in GUIDE]
    assert missing == []
