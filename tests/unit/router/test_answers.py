from typing import Any

import pytest

from modelyard.errors import InvalidArgumentError, NotFoundError, UnavailableError
from router.local.answers import find_refusal, list_repository, parse_key


def test_unknown_names_are_told_what_is_near(make_table: Any) -> None:
    table = make_table(1, {"resnet/p@1": [7]}, {"resnet": "resnet/p@1", "resnet@staging": "resnet/p@1", "bert": None})
    near = find_refusal(table, "resnett")
    assert isinstance(near, NotFoundError)
    assert "did you mean resnet" in near.message
    far = find_refusal(table, "yolo")
    assert isinstance(far, NotFoundError)
    assert far.message.endswith("served are bert, resnet")
    version = find_refusal(table, "resnet@7")
    assert isinstance(version, NotFoundError)
    assert version.message == "model 'resnet' is not served as '7'; it is served as resnet, resnet@staging"


def test_what_is_known_but_not_ready_says_why(make_table: Any) -> None:
    table = make_table(1, {"m/p@1": [7]}, {"bert": None, "m": "m/p@1"})
    refusal = find_refusal(table, "bert")
    assert isinstance(refusal, UnavailableError)
    assert refusal.message == "bert is loading"
    assert isinstance(find_refusal(table, "m"), UnavailableError), "Envoy does not have its route yet"


def test_a_request_without_a_name(make_table: Any) -> None:
    for key in ("", "@3"):
        refusal = find_refusal(make_table(1, {}, {}), key)
        assert isinstance(refusal, InvalidArgumentError)
        assert "model_name" in refusal.message


@pytest.mark.parametrize(
    ("given", "key"),
    [([], ""), ([""], ""), (["m"], "m"), (["m@3"], "m@3"), (["a%20b"], "a b"), (["a%7Eb"], "a~b"), (["%C3%BC"], "ü")],
)
def test_a_key_is_read_as_the_filters_wrote_it(given: list[str], key: str) -> None:
    assert parse_key(given) == key


@pytest.mark.parametrize("given", [["%61"], ["m%2d1"], ["m@%33"], ["a b"], ["a,m"], ["a~b"], ["%"], ["%zz"], ["ü"]])
def test_a_header_that_only_looks_like_a_key_is_told_so(given: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"x-model.*wanted NAME"):
        parse_key(given)


def test_a_name_is_not_chosen_of_two() -> None:
    with pytest.raises(InvalidArgumentError, match="2 times"):
        parse_key(["a", "m"])


def test_bytes_that_are_no_text_name_nothing(make_table: Any) -> None:
    refusal = find_refusal(make_table(1, {}, {"m": None}), parse_key(["m%FF"]))
    assert isinstance(refusal, NotFoundError)
    assert refusal.message.encode()


def test_before_the_first_table() -> None:
    assert isinstance(find_refusal(None, "resnet"), UnavailableError)
    assert isinstance(find_refusal(None, ""), InvalidArgumentError)


def test_sentences_stay_short(make_table: Any) -> None:
    many = make_table(1, {}, {f"model-{number}": None for number in range(1000)})
    assert len(find_refusal(many, "x" * 100_000).message) < 600
    assert "and 992 more" in find_refusal(many, "zzz").message


def test_the_repository_has_a_row_for_each_version_in_its_best_state(make_table: Any) -> None:
    table = make_table(1, {"m/p@1": [7]}, {"m": None, "m@production": "m/p@1", "bert": None})
    rows = list_repository(table, only_ready=False).models
    assert [(row.name, row.version, row.state) for row in rows] == [
        ("bert", "1", "UNAVAILABLE"),
        ("m", "1", "READY"),
    ]
    assert rows[0].reason == "bert is loading"
    assert [row.name for row in list_repository(table, only_ready=True).models] == ["m"]
