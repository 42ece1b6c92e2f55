"""YAML is read strictly: no surprise types, no silent loss, no cost beyond the text's own size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidInput
from ipledger.manifests import yaml_text
from ipledger.manifests.yaml_text import DEPTH_MAX, read_documents


@pytest.fixture(params=[yaml.CBaseLoader, yaml.BaseLoader], ids=["c", "python"])
def _each_parser(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both parsers of PyYAML, since an installation may lack the one in C."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_text, "_LOADER", request.param)
        yield


def refusal(text: str) -> InvalidInput:
    """The error that a text is refused with."""
    with pytest.raises(InvalidInput) as caught:
        read_documents(text)
    return caught.value


@pytest.mark.usefixtures("_each_parser")
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        # What YAML 1.1 would read as something else.
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("11:22:33:44:55:06", "11:22:33:44:55:06"),
        ("20:30", "20:30"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        (".5", ".5"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("9" * 40, "9" * 40),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00::1", "fd00::1"),
        ("nULL", "nULL"),
        ("tRUE", "tRUE"),
        # What has a type.
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-0", 0),
        ("+5", 5),
        ("-17", -17),
        ("9" * 39, 10**39 - 1),
        ("1.5", 1.5),
        ("1.0e+20", 1e20),
        ("-0.25E-1", -0.025),
        # What has quotes, or a block, or says that it is a text.
        ('"1"', "1"),
        ("'true'", "true"),
        ('""', ""),
        ("!!str 5", "5"),
        ("!!str", ""),
        ("|-\n  5", "5"),
        (">-\n  null", "null"),
    ],
)
def test_a_scalar_means_what_it_seems_to(written: str, meant: object) -> None:
    """Only null, true, false and canonical numbers without quotes are anything but texts."""
    (document,) = read_documents(f"key: {written}\n")
    assert document == {"key": meant}
    assert isinstance(document, dict)
    assert type(document["key"]) is type(meant)


@pytest.mark.usefixtures("_each_parser")
def test_keys_are_texts() -> None:
    """A key is the text as it is written, whatever it would mean as a value."""
    assert read_documents("1: a\ntrue: b\n~: c\n'1.0': d\n") == [
        {"1": "a", "true": "b", "~": "c", "1.0": "d"}
    ]


@pytest.mark.usefixtures("_each_parser")
@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        ("# only a comment\n", []),
        ("---\n", [None]),
        ("---\n# nothing\n---\na: 1\n", [None, {"a": 1}]),
        ("a: 1\n---\n- b\n...\n---\nc\n", [{"a": 1}, ["b"], "c"]),
        ("\ufeffa: 1\n", [{"a": 1}]),
        ("a: 1\r\nb: 2\r\n", [{"a": 1, "b": 2}]),
        ("{}", [{}]),
        ("[]", [[]]),
        ('{"a": [1, {"b": null}], "c/d": "\\u00e9\\/"}', [{"a": [1, {"b": None}], "c/d": "é/"}]),
        ("%YAML 1.1\n---\na: 1\n", [{"a": 1}]),
    ],
)
def test_a_text_is_split_into_documents(text: str, documents: list[object]) -> None:
    """Empty documents are counted, comments are not, and JSON is YAML."""
    assert read_documents(text) == documents


def test_json_may_be_indented_with_tabs() -> None:
    """Tabs are white space between the tokens of JSON, as its grammar says."""
    assert read_documents('{\n\t"a":\t1\n}') == [{"a": 1}]


@pytest.mark.usefixtures("_each_parser")
def test_aliases_stand_for_their_values() -> None:
    """An anchor names any value, on keys too, until it is given anew or the document ends."""
    text = "&k a: &x [1, &y b]\nc: *x\nd: *y\ne: *k\nf: &y z\ng: [*y, *y]\n"
    ab = [1, "b"]
    assert read_documents(text) == [
        {"a": ab, "c": ab, "d": "b", "e": "a", "f": "z", "g": ["z", "z"]}
    ]


@pytest.mark.usefixtures("_each_parser")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' is there already"),
        ('{"a": 1, a: 2}', "line 1, column 10: the key 'a' is there already"),
        ("a: *x\n", "line 1, column 4: the alias *x stands for nothing"),
        ("a: &x 1\n---\na: *x\n", "line 3, column 4: the alias *x stands for nothing"),
        ("&x [*x]", "line 1, column 5: the alias *x stands for nothing, or for what it is part of"),
        ("a: &x 1\nb: &x [*x]", "line 2, column 8: the alias *x stands for nothing"),
        ("? [a]\n: b\n", "line 1, column 3: a mapping, a list or an alias cannot be a key"),
        ("? {a: b}\n: b\n", "line 1, column 3: a mapping, a list or an alias cannot be a key"),
        ("a: &x b\n*x : c\n", "line 2, column 1: a mapping, a list or an alias cannot be a key"),
        ("a: &x {b: c}\n<<: *x\n", "line 2, column 1: the merge key << is not accepted"),
        ("a: !secret b\n", "line 1, column 4: the tag '!secret' is not accepted"),
        ("a: !!int '5'\n", "line 1, column 4: the tag 'tag:yaml.org,2002:int' is not accepted"),
        ("a: !!python/name:os.system\n", "line 1, column 4: the tag 'tag:yaml.org,2002:python/"),
        ("!!str {a: b}\n", "line 1, column 1: the tag 'tag:yaml.org,2002:str' is not accepted"),
        ("a: ! b\n", "line 1, column 4: the tag '!' is not accepted"),
        ("a: b\nc: d\x07\n", "line 2, column 5: the control character U+0007"),
        ("\x00", "line 1, column 1: the control character U+0000"),
        ("a: \ud800", "line 1, column 4: the control character U+D800"),
    ],
)
def test_what_would_be_lost_or_misread_is_refused(text: str, message: str) -> None:
    """Each refusal says where and what, and has a hint."""
    error = refusal(text)
    assert error.message.startswith(message)
    assert error.hint


@pytest.mark.usefixtures("_each_parser")
@pytest.mark.parametrize("text", ["a: *{}", "a: !{} b", "{0}: 1\n{0}: 2\n"])
def test_a_long_name_is_cut_in_the_message(text: str) -> None:
    """Whatever is as long as a file, the message is not."""
    error = refusal(text.format("x" * 900))
    assert len(error.message) + len(error.hint) < 400


def test_a_quoted_merge_key_is_a_key() -> None:
    """Only the bare << would merge in YAML 1.1; in quotes it is a text like any other."""
    assert read_documents("'<<': 1") == [{"<<": 1}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c\n", "line 1, column 5: mapping values are not allowed in this context"),
        ("a:\n\tb: 1\n", "line 2, column 1: found character that cannot start any token"),
        ("a: [1\n", "line 2, column 1: did not find expected ',' or ']'"),
        ("a: 1\n b: 2\n", "line 2, column 3: mapping values are not allowed in this context"),
        ("%YAML 2.0\n--- a", "line 1, column 1: found incompatible YAML document"),
        ('a: "\\ud83d"', "line 1, column 7: found invalid Unicode character escape code"),
    ],
)
def test_a_syntax_error_names_its_place(text: str, message: str) -> None:
    """What is not YAML is refused with line and column, counted from 1."""
    assert refusal(text).message == message


@pytest.mark.usefixtures("_each_parser")
@pytest.mark.parametrize("text", ['"\\UFFFFFFFF"', "a: [", "'", "@", "%YAML 1.x\n---", "&a &b c"])
def test_both_parsers_refuse_with_the_same_error(text: str) -> None:
    """Whatever the parser stumbles over, and however, is `InvalidInput`."""
    assert refusal(text).hint


ALIAS_BOMB: Final = "a0: &a0 [x, x]\n" + "".join(
    f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]\n" for level in range(1, 60)
)
# Deep without a bracket: each line puts the line before it one level further in.
ALIAS_LADDER: Final = "a0: &a0 [x]\n" + "".join(
    f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, DEPTH_MAX + 1)
)
DEEP_LIST_ALIASED: Final = f"a: &a {'[' * 60}{']' * 60}\nb: {'[' * 50}*a{']' * 50}\n"
LONG_TEXT_REPEATED: Final = f"a: &a {'x' * 1_000_000}\nb: [{'*a, ' * 100}]\n"


@pytest.mark.parametrize("text", [ALIAS_BOMB, LONG_TEXT_REPEATED], ids=["values", "characters"])
def test_an_alias_bomb_is_refused(text: str) -> None:
    """Aliases count at the full size of what they stand for, in values and in characters."""
    assert "it holds more than" in refusal(text).message


@pytest.mark.parametrize(
    "text",
    ["[" * 1_000_000, '{"a":' * 100_000, "- " * 100_000, ALIAS_LADDER, DEEP_LIST_ALIASED],
    ids=["lists", "mappings", "block", "aliases", "both"],
)
def test_hostile_nesting_is_refused(text: str) -> None:
    """Nesting is bounded however it is made, and refused without reading on."""
    assert f"more than {DEPTH_MAX} levels deep" in refusal(text).message


def test_nesting_up_to_the_bound_is_read() -> None:
    """The bound itself is allowed: written out, and through aliases."""
    (document,) = read_documents("[" * DEPTH_MAX + "]" * DEPTH_MAX)
    assert str(document) == "[" * DEPTH_MAX + "]" * DEPTH_MAX
    ladder = ALIAS_LADDER.splitlines()[: DEPTH_MAX - 1]
    assert len(read_documents("\n".join(ladder))) == 1


def test_many_values_are_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long file is read; one with more values than the bound is refused, over all documents."""
    monkeypatch.setattr(yaml_text, "WEIGHT_MAX", 1_000)
    assert len(read_documents("---\n[a, b, c]\n" * 250)) == 250
    assert "it holds more than 1000 values" in refusal("---\n[a, b, c]\n" * 251).message


# JSON writes characters beyond the basic plane as pairs of surrogates, which YAML does not read;
# nor does it read a key of more than 1,024 characters on one line, escapes counted.
BASIC_TEXT: Final = st.text(
    st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=100
)
SCALARS: Final = st.none() | st.booleans() | st.integers(-(10**38), 10**38)


def nested(
    scalars: st.SearchStrategy[object], keys: st.SearchStrategy[str]
) -> st.SearchStrategy[object]:
    """Lists and mappings of scalars, a few levels deep."""
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=20,
    )


@given(nested(SCALARS | st.text(), st.text()))
def test_what_pyyaml_writes_is_read_back(data: object) -> None:
    """A writer that quotes by YAML 1.1 quotes enough for us: the data come back equal."""
    assert read_documents(yaml.safe_dump(data)) == [data]


def as_read(value: object) -> object:
    """What JSON data are to us: of its numbers, only simple ones are numbers."""
    if isinstance(value, float):
        return value if "." in repr(value) else repr(value)
    if isinstance(value, list):
        return [as_read(item) for item in value]
    if isinstance(value, dict):
        return {key: as_read(item) for key, item in value.items()}
    return value


@given(
    nested(
        SCALARS | st.floats(allow_nan=False, allow_infinity=False) | BASIC_TEXT,
        BASIC_TEXT,
    )
)
def test_json_is_read_as_json_reads_it(data: object) -> None:
    """Every JSON text of the basic plane means what it means to a JSON reader."""
    assert read_documents(json.dumps(data)) == [as_read(data)]


@given(st.text() | st.text(alphabet="ab:-?,[]{}&*!|>'\"%@`# \t\n\\~<0.1"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but `InvalidInput` comes out of any text, even one made of YAML's own signs."""
    with suppress(InvalidInput):
        read_documents(text)
