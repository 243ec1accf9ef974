"""Each example of docs/lineage.md does what the page says, by ML Metadata's own client, on either kind of database."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from controlplane.registry.lineage import lineage_config
from controlplane.registry.lineage.local import LocalLineage
from tests.contract.conftest import Stores
from tests.harness.lineage_story import record_all, tell_story

_PAGE = (Path(__file__).parents[2] / "docs" / "lineage.md").read_text()
# The code, and what it prints where the page shows that.
_EXAMPLES = re.findall(r"```python\n(.*?)```\n(?:```\n(.*?)```)?", _PAGE, re.DOTALL)
_OPENINGS = {"sqlite": _EXAMPLES[0][0], "postgresql": _EXAMPLES[1][0]}


@pytest.fixture
def names(stores: Stores, url: str, tmp_path: Path) -> dict[str, Any]:
    """What the page's examples have from its first ones: a store, opened as the page does it."""
    tell_story(stores.registry, stores.state)
    record_all(stores.registry, LocalLineage(lineage_config("", url, tmp_path)))
    yard = make_url(url)
    kind = yard.get_backend_name()
    code = _OPENINGS[kind].replace("modelyard-data/controller", str(tmp_path))
    if kind == "postgresql":
        real = {
            "db.example.com": yard.query["host"],
            '"yard"\nconfig.postgresql.password': '"postgres"\nconfig.postgresql.password',
        }
        for shown, value in {**real, '"yard"': f'"{yard.database}"'}.items():
            assert shown in code
            code = code.replace(shown, str(value))
    names: dict[str, Any] = {}
    exec(_EXAMPLES[0][0].split("\n\n")[0], names)  # the imports
    exec(code, names)
    return names


@pytest.mark.parametrize(("code", "printed"), _EXAMPLES[2:], ids=range(len(_EXAMPLES) - 2))
def test_an_example_prints_what_the_page_says(names: dict[str, Any], code: str, printed: str) -> None:
    assert printed, "an example on the page prints nothing"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    assert out.getvalue() == printed
