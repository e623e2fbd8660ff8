"""The HTTP interfaces of servers that run a model: token ids in, the likeliest next tokens and their logprobs out.

    GET  /v1/models    all three: {"data": [{"id", "owned_by": "llamacpp" | "vllm" | "sglang", "max_model_len"}]}
    POST /tokenize     all three: {"tokens": [id, ...]}

    llama-server (llama.cpp, tools/server)
        GET  /props        {"total_slots", "default_generation_settings": {"n_ctx"}}; a slot's context
        POST /completion   prompt: ids, n_predict: 1, n_probs: how many
                           -> {"completion_probabilities": [{"id", "top_logprobs": [{"id", "logprob"}, ...]}]}
    vLLM (vllm/entrypoints/openai/completion)
        POST /v1/completions   prompt: ids, max_tokens: 1, logprobs: how many, return_tokens_as_token_ids
                               -> {"choices": [{"logprobs": {"top_logprobs": [{"token_id:123": logprob, ...}]}}]}
    SGLang (sglang/srt/managers/io_struct.py)
        POST /generate         input_ids, return_logprob, top_logprobs_num: how many
                               -> {"meta_info": {"output_top_logprobs": [[[logprob, id, null], ...]]}}

Logprobs are those before sampling: each request switches the sampler's filters and penalties off, and what the server
draws is not used. llama-server returns nothing for a token that is a part of a character, so there a bias decides which
token it draws.

llama-cpp-python's server cannot be used: it takes text only, and names tokens by their text, which is "" for the end of
a text and for every part of a character.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from kgen_ext.engines.json_client import JsonClient
from kgen_ext.errors import EngineError

# Bytes of an answer: for one token of the list (llama-server spells each as text and as bytes), and for the rest.
_TOKEN_BYTES, _REST_BYTES = 1024, 1 << 20
# A bias that outweighs any logit.
_BIAS = 10_000.0

Pairs = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Served:
    """What a server says of itself. n_ctx: tokens that a prompt may have; slots: for requests at a time, if known."""

    n_ctx: int | None
    slots: int | None


class ServerApi(Protocol):
    """One kind of server. title: its name, for messages."""

    title: str

    def describe(self) -> Served:
        """Return what limits requests."""
        ...

    def tokenize(self, text: str) -> list[int] | None:
        """Return the ids of a text, special tokens recognised and none added; None where the server cannot say."""
        ...

    def likeliest(self, ids: list[int], count: int, *, slot: int) -> Pairs:
        """Return (id, logprob) of at least the `count` likeliest tokens behind `ids`, in any order.

        slot: of the server, for one that has slots. Raises EngineError.
        """
        ...


def find_api(client: JsonClient) -> ServerApi:
    """Return the interface of the server that answers. Raises EngineError for a server of another kind."""
    listed = client.get("/v1/models")
    try:
        model = listed["data"][0]
        owner, name = model.get("owned_by"), str(model["id"])
        length = model.get("max_model_len")
    except (LookupError, TypeError, AttributeError):
        raise client.fails("does not say which model it runs", hint=_KNOWN) from None
    n_ctx = length if _is_whole(length) else None
    if owner == "llamacpp":
        return LlamaServer(client)
    if owner == "vllm":
        return Vllm(client, name, n_ctx)
    if owner == "sglang":
        return Sglang(client, name, n_ctx)
    if owner == "me":
        raise client.fails(
            "llama-cpp-python's server takes no token ids and returns none",
            hint="run llama.cpp's llama-server on the same GGUF file",
        )
    raise client.fails(f"an unknown kind of server (its model is owned by {owner!r:.40})", hint=_KNOWN)


_KNOWN = "use llama-server, vLLM or SGLang"


class LlamaServer:
    """llama.cpp's llama-server."""

    title = "llama-server"

    def __init__(self, client: JsonClient) -> None:
        self._client = client
        self._slots = 0
        self._plain = 0  # a token that is text by itself

    def describe(self) -> Served:
        """Return the context and the number of the slots."""
        props, plain = self._client.get("/props"), self.tokenize("a")
        with _Reading(self._client):
            n_ctx, self._slots = props["default_generation_settings"]["n_ctx"], props["total_slots"]
            if not (plain and _is_whole(n_ctx) and _is_whole(self._slots)):
                raise ValueError
            self._plain = plain[-1]
        return Served(max(1, n_ctx - 1), self._slots)  # it needs room for a token more

    def tokenize(self, text: str) -> list[int] | None:
        """Return the ids of a text."""
        body = {"content": text, "add_special": False, "parse_special": True}
        return _read_tokens(self._client.post("/tokenize", body, missing={"tokens": None}))

    def likeliest(self, ids: list[int], count: int, *, slot: int) -> Pairs:
        """Return the likeliest tokens. A slot keeps what it has computed for the row whose it is."""
        body = {
            "prompt": ids, "n_predict": 1, "n_probs": count, "logit_bias": [[self._plain, _BIAS]],
            "cache_prompt": True, "id_slot": slot if slot < self._slots else -1, "samplers": ["temperature"],
            "temperature": 0.0, "post_sampling_probs": False, "stream": False,
            "response_fields": ["completion_probabilities"],
        }  # fmt: skip
        answer = self._client.post("/completion", body, limit=_limit(count))
        with _Reading(self._client):
            first = answer["completion_probabilities"][0]
            if first["id"] != self._plain:
                raise ValueError
            return [(entry["id"], entry["logprob"]) for entry in first["top_logprobs"]]


class Vllm:
    """vLLM's completions."""

    title = "vLLM"

    def __init__(self, client: JsonClient, model: str, n_ctx: int | None) -> None:
        self._client = client
        self._model = model
        self._n_ctx = n_ctx

    def describe(self) -> Served:
        """Return the context."""
        return Served(self._n_ctx and max(1, self._n_ctx - 1), None)  # the token that is drawn counts too

    def tokenize(self, text: str) -> list[int] | None:
        """Return the ids of a text."""
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        return _read_tokens(self._client.post("/tokenize", body, missing={"tokens": None}))

    def likeliest(self, ids: list[int], count: int, *, slot: int) -> Pairs:
        """Return the likeliest tokens."""
        body = {
            "model": self._model, "prompt": ids, "max_tokens": 1, "logprobs": count, "add_special_tokens": False,
            "return_tokens_as_token_ids": True, "temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
            "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "stream": False,
        }  # fmt: skip
        try:
            answer = self._client.post("/v1/completions", body, limit=_limit(count))
        except EngineError as error:
            if "logprobs" in error.message and "max allowed" in error.message:
                raise EngineError(error.message, hint="start vLLM with --max-logprobs -1") from error
            raise
        with _Reading(self._client):
            listed = answer["choices"][0]["logprobs"]["top_logprobs"][0]
            return [(_token_id(name), logprob) for name, logprob in listed.items()]


class Sglang:
    """SGLang's own interface."""

    title = "SGLang"

    def __init__(self, client: JsonClient, model: str, n_ctx: int | None) -> None:
        self._client = client
        self._model = model
        self._n_ctx = n_ctx

    def describe(self) -> Served:
        """Return the context."""
        return Served(self._n_ctx and max(1, self._n_ctx - 8), None)  # it keeps a few for itself

    def tokenize(self, text: str) -> list[int] | None:
        """Return the ids of a text; older versions cannot say."""
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        return _read_tokens(self._client.post("/tokenize", body, missing={"tokens": None}))

    def likeliest(self, ids: list[int], count: int, *, slot: int) -> Pairs:
        """Return the likeliest tokens."""
        body = {
            "input_ids": ids, "return_logprob": True, "top_logprobs_num": count, "logprob_start_len": -1,
            "stream": False, "sampling_params": {
                "max_new_tokens": 1, "temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0,
                "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            },
        }  # fmt: skip
        answer = self._client.post("/generate", body, limit=_limit(count))
        with _Reading(self._client):
            return [(entry[1], entry[0]) for entry in answer["meta_info"]["output_top_logprobs"][0]]


class _Reading:
    """Turns what goes wrong while an answer is read into an EngineError."""

    def __init__(self, client: JsonClient) -> None:
        self._client = client

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if isinstance(error, (LookupError, TypeError, ValueError, AttributeError)):
            what = "an answer that lacks what is needed (token ids, logprobs, slots)"
            raise self._client.fails(what, hint="update the server") from error


def _read_tokens(answer: Any) -> list[int] | None:
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    return list(tokens) if isinstance(tokens, Iterable) and not isinstance(tokens, str) else None


def _token_id(name: str) -> int:
    """Return 123 of `token_id:123`."""
    head, _, number = name.partition("token_id:")
    if head:
        raise ValueError(name)
    return int(number)


def _limit(count: int) -> int:
    return count * _TOKEN_BYTES + _REST_BYTES


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
