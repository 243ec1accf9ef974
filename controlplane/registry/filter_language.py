"""The language in which people ask for versions: text to the values of `version_query`. docs/search.md teaches it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from controlplane.registry.filter_values import Written, make_comparison, read_field
from controlplane.registry.version_query import And, Comparison, Field, FieldKind, Filter, Not, Operator, Or, Order
from modelyard.errors import InvalidArgumentError

_LONGEST_TEXT = 4_000
# SQLite takes expressions of 1,000 levels, Python's stack fewer.
_DEEPEST = 20
_MOST_COMPARISONS = 100
_FILTER_EXAMPLE = """metrics.accuracy > 0.9 and tags.team = "vision" and format = onnx"""
_ORDER_EXAMPLE = "metrics.accuracy desc"
_SHOWN = 40  # characters on each side of what is wrong

# A bare word is whatever has no operator, quote, parenthesis or space in it: a name, a number or a date.
_GRAMMAR = r"""
filter: _any
_any: either
either: both (_OR both)*
both: _one (_AND _one)*
_one: negation | "(" _any ")" | comparison
negation: _NOT _one
comparison: field OPERATOR value
order: field [DIRECTION]
field: WORD | KEYED TEXT
value: WORD | TEXT

_AND.2: /and(?![^\s()"'=!<>~])/i
_OR.2: /or(?![^\s()"'=!<>~])/i
_NOT.2: /not(?![^\s()"'=!<>~])/i
DIRECTION.2: /(asc|desc)(?![^\s()"'=!<>~])/i
OPERATOR: "!=" | "<=" | ">=" | "=" | "<" | ">" | "~"
WORD: /(?!(?:and|or|not)(?![^\s()"'=!<>~]))[^\s()"'=!<>~]+/i
KEYED.2: /[^\s()"'=!<>~]+\.(?=["'])/
TEXT: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
%ignore /\s+/
"""
# What is wanted at a place, by one of the tokens that the parser would take there.
_WANTED = {
    "LPAR": 'a field, "not" or "(" is wanted there',
    "OPERATOR": "one of = != < <= > >= ~ is wanted there",
    "TEXT": "a value is wanted there, in quotes if it is more than one word or a keyword",
    "_AND": '"and", "or" or the end is wanted there; put a value of several words into quotes',
    "RPAR": '")" is wanted there',
    "$END": "the end is wanted there",
}
_WANTED_OF_ORDER = {"DIRECTION": '"asc", "desc" or the end is wanted there', "WORD": "a field is wanted there"}


def parse_filter(text: str) -> Filter | None:
    """None for "": all versions. InvalidArgumentError that tells the place, or what there is instead."""
    if not text.strip():
        return None
    wanted: Filter = _parse("filter", text, _FILTER_EXAMPLE)
    _check_size(wanted)
    return wanted


def parse_order(text: str) -> Order | None:
    """None for "": the newest first, by model. InvalidArgumentError as of `parse_filter`."""
    if not text.strip():
        return None
    order: Order = _parse("order", text, _ORDER_EXAMPLE)
    if order.field == Field(FieldKind.COLUMN, "alias"):
        raise InvalidArgumentError(
            "a version can have several aliases, so there is no order by alias; take another field"
        )
    return order


@v_args(inline=True)
class _Maker(Transformer[Token, Any]):
    """Is called while the text is parsed, from the inside out: no depth of parentheses needs a stack here."""

    def filter(self, whole: Filter) -> Filter:
        return whole

    def either(self, *parts: Filter) -> Filter:
        return parts[0] if len(parts) == 1 else Or(parts)

    def both(self, *parts: Filter) -> Filter:
        return parts[0] if len(parts) == 1 else And(parts)

    def negation(self, part: Filter) -> Filter:
        return Not(part)

    def comparison(self, field: Field, operator: Token, value: Written) -> Filter:
        return make_comparison(field, Operator(operator.value), value)

    def order(self, field: Field, direction: Token | None) -> Order:
        return Order(field, descending=direction is not None and direction.lower() == "desc")

    def field(self, name: Token, key: Token | None = None) -> Field:
        return read_field(name.value, None if key is None else _unquote(key))

    def value(self, token: Token) -> Written:
        return Written(_unquote(token), True) if token.type == "TEXT" else Written(token.value, False)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start=["filter", "order"], transformer=_Maker(), maybe_placeholders=True)


def _parse(what: str, text: str, example: str) -> Any:
    if len(text) > _LONGEST_TEXT:
        raise InvalidArgumentError(
            f"the {what} has {len(text)} characters; {_LONGEST_TEXT} is the most, ask for less at once"
        )
    if "\0" in text:
        raise InvalidArgumentError(f"the {what} holds a null character, which no version has; leave it out")
    try:
        return _parser().parse(text, start=what)
    except UnexpectedInput as error:
        at = _place(error, text)
        reason = _explain(error, text[at:], _WANTED if what == "filter" else {**_WANTED_OF_ORDER, **_WANTED})
        raise InvalidArgumentError(
            f"the {what} cannot be read at ^ in: {_mark(text, at)} ; {reason}; an example: {example}"
        ) from None


def _place(error: UnexpectedInput, text: str) -> int:
    is_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    return len(text) if is_end else error.pos_in_stream or 0


def _explain(error: UnexpectedInput, rest: str, wanted: Mapping[str, str]) -> str:
    """What to write there instead."""
    if isinstance(error, UnexpectedCharacters) and rest[:1] in ("'", '"'):
        return "the quote that begins there has no end"
    taken = error.allowed if isinstance(error, UnexpectedCharacters) else getattr(error, "expected", None)
    return next((sentence for token, sentence in wanted.items() if token in (taken or ())), "nothing can stand there")


def _mark(text: str, at: int) -> str:
    """On one line, however long the text is: "... metrics.accuracy > ^and format = onnx"."""
    before, after = " ".join(text[:at].split()), " ".join(text[at:].split())
    space = " " if text[:at][-1:].isspace() or not after else ""
    begin = "... " if len(before) > _SHOWN else ""
    end = " ..." if len(after) > _SHOWN else ""
    return f"{begin}{before[-_SHOWN:]}{space}^{after[:_SHOWN]}{end}"


def _unquote(token: Token) -> str:
    """A backslash takes the character behind it as it is."""
    inside, characters = iter(token.value[1:-1]), []
    for character in inside:
        characters.append(next(inside) if character == "\\" else character)
    return "".join(characters)


def _check_size(wanted: Filter) -> None:
    comparisons, waiting = 0, [(wanted, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > _DEEPEST:
            raise InvalidArgumentError(f"the filter is nested more than {_DEEPEST} levels deep; write it flatter")
        match part:
            case Comparison():
                comparisons += 1
            case Not():
                waiting.append((part.part, depth + 1))
            case And() | Or():
                waiting.extend((inner, depth + 1) for inner in part.parts)
    if comparisons > _MOST_COMPARISONS:
        raise InvalidArgumentError(f"the filter makes {comparisons} comparisons; {_MOST_COMPARISONS} is the most")
