"""Invalid requests: the whole batch is refused before the first event, wherever in it the request is."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from model_shapes import DTG
from scripted_engine import TIPO_SPECIAL, ScriptedEngine, build_vocab

from kgen_ext.errors import BadPattern, BadTemplate, BadValue, UserError
from kgen_ext.events import Finished
from kgen_ext.protocol import Protocol
from kgen_ext.request import ExpandRequest, Task
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ModelContext, check_servable, make_jobs, plan_expansion

SPECIAL = {Protocol.TIPO: TIPO_SPECIAL, Protocol.DTG: DTG.special}
SLOW, HANGING = "a" * 4000 + "z", "/(a+)+$/"
PROSE = "A fox sits by the river."
SENTENCES: dict[str, Any] = {"no_tags": True, "text_length": "short"}

# Each is refused by either protocol: options of the request, and the error.
REFUSED: dict[str, tuple[dict[str, Any], type[UserError]]] = {
    "a ban that is no expression": ({"ban": "/(/"}, BadPattern),
    "a ban that is not closed": ({"ban": ("/hat",)}, BadPattern),
    "a ban of no category": ({"ban": "category:hats"}, BadPattern),
    "a ban that is too long": ({"ban": "a" * 301}, BadPattern),
    "too many bans": ({"ban": tuple(f"hat {number}" for number in range(1001))}, BadPattern),
    "a protected word that is no expression": ({"protect": "/(/"}, BadPattern),
    "a protected word that is too slow on the prompt": ({"prompt": SLOW, "protect": HANGING}, BadPattern),
    "a rule without a ban": ({"rules": ("if hat",)}, BadPattern),
    "a rule that is no expression": ({"rules": ("if /(/ ban hat",)}, BadPattern),
    "a rule that is too slow on the prompt": ({"prompt": SLOW, "rules": (f"if {HANGING} ban hat",)}, BadPattern),
    "a rule that is too slow on a required tag": ({"require": SLOW, "rules": (f"if {HANGING} ban hat",)}, BadPattern),
    "a rule that is too slow on a later segment": (
        {"prompt": f"1girl BREAK {SLOW}", "rules": (f"if {HANGING} ban hat",)}, BadPattern),
    "a ban that is too slow on a required tag": ({"require": SLOW, "ban": HANGING}, BadPattern),
    "no format": ({"format": "nosuch"}, BadValue),
    "no slot": ({"format": "<|nosuch|>"}, BadTemplate),
    "a slot twice": ({"format": "<|general|> <|general|>"}, BadTemplate),
    "a slot that is not closed": ({"format": "<|general|> <|meta"}, BadTemplate),
    "a template that is too long": ({"format": "<|general|>" + "a" * 100_000}, BadTemplate),
    "no tag file": ({"tag_file": "nosuch.csv"}, BadValue),
    "a folder as tag file": ({"tag_file": "."}, BadValue),
    "a tag file that is none": ({"tag_file": "prose.txt"}, UserError),
    "a tag file without tags": ({"tag_file": "empty.csv"}, UserError),
    "a tag file in another encoding": ({"tag_file": "latin.csv"}, UserError),
}  # fmt: skip
# The field that the message of a refused pattern begins with.
NAMED = {"a ban that is no expression": "ban", "a ban of no category": "ban", "too many bans": "ban",
         "a protected word that is no expression": "protect", "a rule without a ban": "rules",
         "a rule that is no expression": "rules"}  # fmt: skip
# What only one of them cannot write.
BEYOND: dict[Protocol, dict[str, dict[str, Any]]] = {
    Protocol.DTG: {
        "sentences alone": SENTENCES,
        "sentences alone, by a task": {"no_tags": True, "text_length": "long", "task": "tag_to_long"},
    },
    Protocol.TIPO: {
        "tags, but no tags": {**SENTENCES, "task": "tag"},
        "a long text of the user's, then no tags": {**SENTENCES, "task": "long_to_tag", "text": PROSE},
        "a short text of the user's, then no tags": {**SENTENCES, "task": "short_to_tag", "prompt": PROSE},
        "the same in a later segment": {**SENTENCES, "task": "short_to_tag", "prompt": f"1girl BREAK {PROSE}"},
    },
}
CASES = [
    *(pytest.param(protocol, options, error, id=f"{protocol.value}: {name}")
      for protocol in Protocol for name, (options, error) in REFUSED.items()),
    *(pytest.param(protocol, options, BadValue, id=f"{protocol.value}: {name}")
      for protocol, some in BEYOND.items() for name, options in some.items()),
]  # fmt: skip
BATCHES: dict[str, Callable[[ExpandRequest, ExpandRequest], list[ExpandRequest]]] = {
    "alone": lambda good, bad: [bad],
    "first": lambda good, bad: [bad, good, good],
    "last": lambda good, bad: [good, good, bad],
}


@pytest.fixture(autouse=True)
def tag_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prose.txt").write_text("A fox sits by the river, and\nthinks.\n", "utf-8")
    Path("empty.csv").touch()
    Path("latin.csv").write_bytes("café,0,1\n".encode("latin-1"))


def engine_of(protocol: Protocol, n_ctx: int = 1024) -> ScriptedEngine:
    """Return an engine with the protocol's special tokens that finds all tokens alike."""
    vocab = build_vocab([",", "\n", " fox", " hat"], special=SPECIAL[protocol])
    return ScriptedEngine(lambda tokens: np.zeros(len(vocab), np.float32), vocab=vocab, n_ctx=n_ctx)


def expander_of(engine: ScriptedEngine, protocol: Protocol) -> Expander:
    return Expander(ModelContext(engine, protocol, True, engine.n_ctx), model="scripted", checksum="x", rows=4)


def good(**options: Any) -> ExpandRequest:
    return ExpandRequest(**{"prompt": "1girl", "tag_length": "very_short", **options})


@pytest.mark.parametrize("place", BATCHES)
@pytest.mark.parametrize(("protocol", "options", "error"), CASES)
def test_a_stream_is_refused_when_it_is_asked_for(
    protocol: Protocol, options: dict[str, Any], error: type[UserError], place: str
) -> None:
    requests = BATCHES[place](good(seed=1), good(**options))
    with pytest.raises(error):
        expander_of(engine_of(protocol), protocol).stream(requests)


@pytest.mark.parametrize("place", BATCHES)
@pytest.mark.parametrize(("protocol", "options", "error"), CASES)
def test_nothing_is_decoded_of_a_batch_that_is_refused(
    protocol: Protocol, options: dict[str, Any], error: type[UserError], place: str
) -> None:
    engine = engine_of(protocol)
    with pytest.raises(error):
        expander_of(engine, protocol).expand(BATCHES[place](good(seed=1), good(**options)))
    assert engine.fed == 0


@pytest.mark.parametrize(("case", "field"), NAMED.items())
def test_a_refused_pattern_names_its_field(case: str, field: str) -> None:
    with pytest.raises(BadPattern, match=f"^{field}: "):
        plan_expansion(good(**REFUSED[case][0]), TagFiles())


@pytest.mark.parametrize("protocol", Protocol)
def test_the_batch_without_it_is_expanded(protocol: Protocol) -> None:
    events = list(expander_of(engine_of(protocol), protocol).stream([good(seed=1), good(seed=2)]))
    assert sum(isinstance(event, Finished) for event in events) == 2


@pytest.mark.parametrize(
    "requests",
    [[good(**BEYOND[Protocol.DTG]["sentences alone"]), good(format="nosuch")],
     [good(format="nosuch"), good(**BEYOND[Protocol.DTG]["sentences alone"])]],
    ids=["the model's", "the request's own"],
)  # fmt: skip
def test_of_two_mistakes_the_first_is_told(requests: list[ExpandRequest]) -> None:
    first = "no_tags" if requests[0].no_tags else "format"
    with pytest.raises(BadValue, match=f"^{first}"):
        expander_of(engine_of(Protocol.DTG), Protocol.DTG).stream(requests)


@pytest.mark.parametrize("protocol", Protocol)
def test_checking_a_batch_makes_no_tokens(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(protocol)
    tokenised = list[str]()
    monkeypatch.setattr(engine, "tokenize", tokenised.append)
    expander_of(engine, protocol).stream([good(prompt=f"1girl, hat {number}") for number in range(50)])
    assert tokenised == []


# Text that is more than it seems, less, or nothing at all once no tokenizer can take it for a special token.
_PARTS = ["1girl", ", ", " BREAK ", PROSE, "A fox. ", "<|", "</s>", "<mask>" * 400, " ", "artist:a, ", "fox " * 90]


@given(
    protocol=st.sampled_from(Protocol),
    prompt=st.lists(st.sampled_from(_PARTS), max_size=6).map("".join),
    text=st.lists(st.sampled_from(_PARTS), max_size=4).map("".join),
    task=st.sampled_from(Task),
    no_tags=st.booleans(),
    n_ctx=st.sampled_from([64, 100, 256]),
)
@example(Protocol.TIPO, "1girl", "<mask>" * 400, Task.LONG_TO_TAG, True, 100)  # cut by the context, it is text
def test_the_check_refuses_what_the_jobs_would_refuse_and_nothing_else(
    protocol: Protocol, prompt: str, text: str, task: Task, no_tags: bool, n_ctx: int
) -> None:
    engine = engine_of(protocol, n_ctx)
    context = ModelContext(engine, protocol, True, n_ctx)
    request = ExpandRequest(prompt, text, "very_short", "short", task=task, no_tags=no_tags)
    plan = plan_expansion(request, TagFiles())

    def refusal(work: Callable[[], object]) -> str:
        try:
            work()
        except UserError as error:
            return str(error)
        return ""

    made = refusal(lambda: make_jobs(plan, context, row=0, seed=1))
    assert refusal(lambda: check_servable(plan, context)) == made
