"""What the language of filters and orders means, and what it says of what it does not take."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controlplane.registry.filter_language import parse_filter, parse_order
from controlplane.registry.version_query import And, Comparison, Field, FieldKind, Not, Operator, Or, Order
from modelyard.errors import InvalidArgumentError

PAGE = Path(__file__).parents[3] / "docs/search.md"


def column(name: str) -> Field:
    return Field(FieldKind.COLUMN, name)


def equal(name: str, value: str) -> Comparison:
    return Comparison(column(name), Operator.EQUAL, value)


def metric(key: str, operator: str, value: float) -> Comparison:
    return Comparison(Field(FieldKind.METRIC, key), Operator(operator), value)


def tag(key: str, operator: str, value: str | float) -> Comparison:
    return Comparison(Field(FieldKind.TAG, key), Operator(operator), value)


def created(operator: str, *moment: int) -> Comparison:
    return Comparison(column("created"), Operator(operator), datetime(*moment, tzinfo=UTC))  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("  ", None),
        (
            'metrics.accuracy > 0.9 and tags.team = "vision" and format = onnx',
            And((metric("accuracy", ">", 0.9), tag("team", "=", "vision"), equal("format", "onnx"))),
        ),
        (
            "name=a OR name=b aNd not name=c",
            Or((equal("name", "a"), And((equal("name", "b"), Not(equal("name", "c")))))),
        ),
        ("(name=a or name=b) and name=c", And((Or((equal("name", "a"), equal("name", "b"))), equal("name", "c")))),
        ("name = and-y", equal("name", "and-y")),
        ("name = 'and'", equal("name", "and")),
        ("name = 7", equal("name", "7")),
        ("sha256 = 00ab", equal("sha256", "00ab")),
        ('metrics."top-1 acc" <= -1e-3', metric("top-1 acc", "<=", -0.001)),
        ("metrics.a.b != 1", metric("a.b", "!=", 1.0)),
        ('tags.a."b c" ~ d', tag("a.b c", "~", "d")),
        (r"""tags."a\"b" = 'it\'s \\'""", tag('a"b', "=", "it's \\")),
        ("tags.day = 7", tag("day", "=", 7.0)),
        ('tags.day = "7"', tag("day", "=", "7")),
        ("tags.day ~ 7", tag("day", "~", "7")),
        ("tags.team = 비전", tag("team", "=", "비전")),
        ("tags.x = inf", tag("x", "=", "inf")),
        ("created > 2026-01-31", created(">=", 2026, 2, 1)),
        ("time <= 2026-01-31", created("<", 2026, 2, 1)),
        ("time < '2026-01-31'", created("<", 2026, 1, 31)),
        ("time = 2026-01-31", And((created(">=", 2026, 1, 31), created("<", 2026, 2, 1)))),
        ("time != 2026-01-31", Or((created("<", 2026, 1, 31), created(">=", 2026, 2, 1)))),
        ("time = 2026-01-31T09:00:00.5+09:00", created("=", 2026, 1, 31, 0, 0, 0, 500_000)),
    ],
)
def test_what_a_filter_means(text: str, meaning: object) -> None:
    assert parse_filter(text) == meaning


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("metrics.x > and name = a", r"at \^ in: metrics.x > \^and name = a ; a value is wanted.*an example: metrics"),
        ("name = a b", r"name = a \^b.*\"and\", \"or\" or the end"),
        ("name a", r"name \^a.*one of = !="),
        ("name == a", r"name = \^= a|name =\^= a"),
        ("(name = a", r"\(name = a \^ ; \"\)\" is wanted"),
        ("name = a)", r"name = a\^\)"),
        ("name = a and", r"a and \^ ; a field, \"not\" or"),
        ('name = "a', r'name = \^"a.*quote that begins there has no end'),
        ("x" * 3000 + " b " + "y" * 900, r"at \^ in: \.\.\. x{40} \^b y+ \.\.\. ;"),
        ("nam = a", "no field 'nam'; did you mean name.*size_bytes.*tags.KEY"),
        ("colour = red", "no field 'colour'; the fields are name,"),
        ("metric.x > 1", "did you mean metrics"),
        ("metrics > 1", "metrics has no key"),
        ("format = 3", "no format '3'; there are onnx, savedmodel, tensorrt"),
        ("format = onx", "did you mean onnx"),
        ('metrics.x > "abc"', 'metrics.x is a number.*not > "abc"'),
        ("metrics.x ~ 3", "metrics.x is a number"),
        ("metrics.x > nan", "metrics.x is a number"),
        ("size_bytes > 1e999", "size_bytes is a number"),
        ("alias < 3", "alias is text, which < does not compare"),
        ("tags.x < abc", "abc is text; write tags.x < 0.9"),
        ('params."a b" < "1"', '"1" is text; write parameters."a b" < 0.9'),
        ("time > yesterday", "created is a time.*not > yesterday"),
        ("time > 2026-02-30", "created is a time"),
        ("time > 2026-01-31T12:00:00", "zone"),
        ("time > 9999-12-31", "created is a time"),
        ("time > 0001-01-01T00:00:00+09:00", "created is a time"),
        ("name = 'a\0'", "null character"),
        ("a" * 4001, "4001 characters; 4000 is the most"),
        ("not " * 20 + "name = a", "more than 20 levels"),
        (" or ".join(["name = a"] * 101), "101 comparisons; 100 is the most"),
    ],
)
def test_what_is_wrong_is_told(text: str, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        parse_filter(text)


def test_parentheses_alone_are_no_depth() -> None:
    assert parse_filter("(" * 1900 + "name = a" + ")" * 1900) == equal("name", "a")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None),
        ("metrics.accuracy desc", Order(Field(FieldKind.METRIC, "accuracy"), descending=True)),
        ("time ASC", Order(column("created"))),
        ('tags."a b"', Order(Field(FieldKind.TAG, "a b"))),
    ],
)
def test_what_an_order_means(text: str, meaning: Order | None) -> None:
    assert parse_order(text) == meaning


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("metrics.x down", r"metrics.x \^down.*\"asc\", \"desc\" or the end.*an example: metrics.accuracy desc"),
        ("= 3", "a field is wanted"),
        ("alias", "several aliases"),
        ("colour", "no field 'colour'"),
    ],
)
def test_what_is_wrong_with_an_order_is_told(text: str, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        parse_order(text)


PIECES = [
    "name",
    "metrics.x",
    'tags."',
    "created",
    "=",
    "!=",
    "~",
    "<",
    "and",
    "or",
    "not",
    "(",
    ")",
    '"',
    "'",
    "\\",
    " ",
    "1e9",
    "2026-01-31",
    "é",
    ".",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=60))
@example("(" * 3999)
@example("not " * 999)
def test_any_text_is_understood_or_refused_with_a_sentence(text: str) -> None:
    for parse in (parse_filter, parse_order):
        try:
            parse(text)
        except InvalidArgumentError as error:
            assert "\n" not in error.message


@pytest.mark.parametrize("kind", ["filter", "order"])
def test_the_examples_of_the_page_are_understood(kind: str) -> None:
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 5
    for line in lines:
        assert (parse_filter if kind == "filter" else parse_order)(line) is not None


def test_every_field_is_on_the_page() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse_filter("colour = red")
    fields = refused.value.message.partition("the fields are ")[2].replace(" and ", ", ").split(", ")
    assert len(fields) > 10
    assert [field for field in fields if f"`{field}`" not in PAGE.read_text()] == []
