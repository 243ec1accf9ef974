from collections.abc import Collection

import pytest

from controlplane.registry.near_names import MOST_CANDIDATES, describe_choice


@pytest.mark.parametrize(
    ("wanted", "names", "sentence"),
    [
        ("resnt", ["bert", "resnet"], "did you mean resnet?"),
        ("RESNET", ["bert", "resnet"], "did you mean resnet?"),
        ("x", ["bert", "resnet"], "there are bert, resnet"),
        ("x", list("abcdefg"), "there are a, b, c, d, e and 2 more"),
        ("x", [], "nothing yet"),
    ],
)
def test_a_mistyped_name_gets_what_helps(wanted: str, names: list[str], sentence: str) -> None:
    assert describe_choice(wanted, names, "nothing yet") == sentence


def test_of_very_many_names_only_the_first_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def count(wanted: str, names: Collection[str], **options: object) -> list[str]:
        compared.append(len(names))
        return []

    monkeypatch.setattr("difflib.get_close_matches", count)
    names = [f"model-{number}" for number in range(5_000)]
    sentence = describe_choice("x", names, "")
    assert compared == [MOST_CANDIDATES]
    assert sentence == "there are model-0, model-1, model-10, model-100, model-101 and many more"
