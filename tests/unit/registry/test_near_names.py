import pytest

from controlplane.registry.near_names import describe_choice


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
