"""Names that are taken, names that are not, and words that no new alias can be."""

import pytest

from modelyard import resource_names
from modelyard.errors import InvalidArgumentError


@pytest.mark.parametrize("name", ["resnet", "Resnet-50.v2", "9", "a", "a" * 100, "a_b", "latest", "models"])
def test_what_a_model_can_be_called(name: str) -> None:
    assert resource_names.check_model_name(name) == name
    assert resource_names.parse_model_name(f"models/{name}") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "-a",
        "a-",
        ".a",
        "a.",
        "a..b",
        "a/b",
        "a@1",
        "a:b",
        "a b",
        "a" * 101,
        "ä",
        "a\n",
        "a\0",
        "../a",
        "s3://a",
        "²",
    ],
)
def test_what_nothing_can_be_called(name: str) -> None:
    for check in (
        resource_names.check_model_name,
        resource_names.check_alias_name,
        resource_names.check_new_alias_name,
    ):
        with pytest.raises(InvalidArgumentError):
            check(name)


def test_an_alias_is_no_number() -> None:
    with pytest.raises(InvalidArgumentError, match="means a version"):
        resource_names.check_alias_name("3")
    assert resource_names.check_alias_name("3a") == "3a"


@pytest.mark.parametrize("word", ["latest", "Latest", "newest", "none", "null", "ALL"])
def test_a_reserved_word_is_no_new_alias_and_can_still_be_spoken_of(word: str) -> None:
    with pytest.raises(InvalidArgumentError, match="would be read as"):
        resource_names.check_new_alias_name(word)
    assert resource_names.parse_alias_name(f"models/resnet/aliases/{word}") == ("resnet", word)
    assert resource_names.parse_deployment_name(f"models/resnet/deployments/{word}") == ("resnet", word)


@pytest.mark.parametrize("name", ["production", "staging", "champion", "latest-eu", "all-night"])
def test_other_words_are_free(name: str) -> None:
    assert resource_names.check_new_alias_name(name) == name
